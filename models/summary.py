r"""Numbers that sum up a light curve: what classifiers without time series read.

Notation: n curves, F features, S band slots (those of `models.features`).

In every slot, of the observations up to the triggering one:

====================  ========================================================
``count``             ln(1 + observations), and ``detections`` alike
``max_flux``          asinh(flux / 1000 nJy) of the largest, ``min_flux`` of the smallest,
                      ``last_flux`` of the latest, ``mean_flux`` of the weighted mean
``max_snr``           asinh(largest flux / error), ``min_snr`` of the smallest
``max_ratio``         largest flux / scale, and ``min_ratio``, ``last_ratio`` alike; the
                      scale is the largest \|flux\| of all slots
``since_max``         days from the largest flux to the trigger
``since_last``        days from the latest observation to the trigger
``span``              days from the first to the latest observation
``rise``, ``fall``    mean slope from the first to the largest and from the largest to the
                      latest flux, scale per day
``trend``             slope of the weighted straight line through the last 20 days, scale per day
``scatter``           ln(standard deviation / mean error)
``chi2``              ln(1 + reduced chi2) of a constant
``skew``              skewness of the fluxes
``negative``          fraction of fluxes below -3 sigma
====================  ========================================================

For pairs of slots, ``colour_max_AB`` and ``colour_last_AB`` are (B - A) / (\|A\| + \|B\|) of the
fluxes nearest to the largest flux of all slots and to the trigger, at most 5 days away. And of
the whole curve ``log_scale``, ``observations``, ``all_detections``, ``since_first_detection``,
``before_first_detection`` (days from the last non-detection), ``since_peak``, ``trigger_flux``,
``trigger_snr``, ``longest_gap`` (days) and ``negative_detections`` (fraction).
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.features import n_usable
from models.jit import compiled
from models.lightcurve import BANDS, LightCurves

__all__ = ["MISSING", "SUMMARY_FEATURES", "summary_features"]

MISSING: Final = -9999.0
"""Stands for features that a curve does not define: below every value that occurs."""

_SLOTS: Final = "ugrizy"
_OF_SLOT: Final = (
    *("count", "detections", "max_flux", "min_flux", "last_flux", "mean_flux", "max_snr"),
    *("min_snr", "max_ratio", "min_ratio", "last_ratio", "since_max", "since_last", "span"),
    *("rise", "fall", "trend", "scatter", "chi2", "skew", "negative"),
)
_PAIRS: Final = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (1, 3), (2, 4))
_OF_CURVE: Final = (
    *("log_scale", "observations", "all_detections", "since_first_detection"),
    *("before_first_detection", "since_peak", "trigger_flux", "trigger_snr", "longest_gap"),
    "negative_detections",
)

SUMMARY_FEATURES: Final[tuple[str, ...]] = (
    *(f"{name}_{slot}" for slot in _SLOTS for name in _OF_SLOT),
    *(f"colour_{moment}_{_SLOTS[a]}{_SLOTS[b]}" for moment in ("max", "last") for a, b in _PAIRS),
    *_OF_CURVE,
)
"""[F]"""

_N_SLOTS: Final = len(_SLOTS)
_N_OF_SLOT: Final = len(_OF_SLOT)
_N_PAIRS: Final = len(_PAIRS)
_PAIR_ROWS: Final = np.array(_PAIRS, np.int64)
_WAVELENGTHS: Final = np.log([band.wavelength_aa for band in BANDS])
_SLOT: Final = np.argmin(np.abs(_WAVELENGTHS[:, None] - _WAVELENGTHS[:_N_SLOTS]), axis=1)
_FLUX_NJY: Final = 1000.0
_COLOUR_DAYS: Final = 5.0
_TREND_DAYS: Final = 20.0
_NEGATIVE_SNR: Final = -3.0


def summary_features(
    curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return the features [n, F] of curves up to their triggering observations.

    `DataError` for a wrong number of triggers.
    """
    if len(trigger_mjd) != len(curves):
        raise DataError(f"{len(trigger_mjd)} trigger times for {len(curves)} curves", trigger_mjd)
    features = np.full((len(curves), len(SUMMARY_FEATURES)), MISSING, np.float32)
    _summarise(
        curves.splits,
        n_usable(curves, trigger_mjd),
        trigger_mjd,
        curves.mjd,
        _SLOT[curves.band],
        curves.flux.astype(np.float64),
        curves.flux_err.astype(np.float64),
        curves.detected,
        _PAIR_ROWS,
        features,
    )
    return features


@compiled
def _summarise(splits, lengths, triggers, mjd, slot, flux, err, detected, pairs, features):  # type: ignore[no-untyped-def]
    for row in range(len(lengths)):
        first, end = splits[row], splits[row] + lengths[row]
        if first == end:
            continue
        age = triggers[row] - mjd[first:end]
        f, e, s, d = flux[first:end], err[first:end], slot[first:end], detected[first:end]
        scale = np.max(np.abs(f))
        scale = scale if scale > 0.0 else 1.0
        out = features[row]
        for b in range(_N_SLOTS):
            own = s == b
            if own.any():
                _of_slot(age[own], f[own], e[own], d[own], scale, out[b * _N_OF_SLOT :])
        peak = np.argmax(f)
        start = _N_SLOTS * _N_OF_SLOT
        _colours(age - age[peak], f, s, pairs, out[start:])
        _colours(age, f, s, pairs, out[start + _N_PAIRS :])
        _of_curve(age, f, e, d, scale, peak, out[start + 2 * _N_PAIRS :])


@compiled
def _of_slot(age, flux, err, detected, scale, out):  # type: ignore[no-untyped-def]
    high, low, last = np.argmax(flux), np.argmin(flux), len(flux) - 1
    weight = 1.0 / err**2
    mean = np.sum(weight * flux) / np.sum(weight)
    out[0], out[1] = np.log1p(len(flux)), np.log1p(np.sum(detected))
    out[2], out[3] = np.arcsinh(flux[high] / _FLUX_NJY), np.arcsinh(flux[low] / _FLUX_NJY)
    out[4], out[5] = np.arcsinh(flux[last] / _FLUX_NJY), np.arcsinh(mean / _FLUX_NJY)
    out[6], out[7] = np.arcsinh(flux[high] / err[high]), np.arcsinh(flux[low] / err[low])
    out[8], out[9], out[10] = flux[high] / scale, flux[low] / scale, flux[last] / scale
    out[11], out[12], out[13] = age[high], age[last], age[0] - age[last]
    if age[0] > age[high]:
        out[14] = (flux[high] - flux[0]) / (age[0] - age[high]) / scale
    if age[high] > age[last]:
        out[15] = (flux[last] - flux[high]) / (age[high] - age[last]) / scale
    recent = age <= age[last] + _TREND_DAYS
    _trend(-age[recent], flux[recent] / scale, weight[recent], out[16:])
    if len(flux) > 1:
        spread = np.std(flux)
        out[17] = np.log(spread / np.mean(err) + 1e-6)
        out[18] = np.log1p(np.sum(weight * (flux - mean) ** 2) / (len(flux) - 1))
        out[19] = np.mean((flux - np.mean(flux)) ** 3) / spread**3 if spread > 0.0 else 0.0
    out[20] = np.mean((flux < _NEGATIVE_SNR * err).astype(np.float64))


@compiled
def _trend(time, value, weight, out):  # type: ignore[no-untyped-def]
    """Write the slope of the weighted straight line, if there are two times."""
    if len(time) > 1:
        weight = weight / np.sum(weight)
        time = time - np.sum(weight * time)
        spread = np.sum(weight * time**2)
        if spread > 0.0:
            out[0] = np.sum(weight * time * value) / spread


@compiled
def _colours(offset, flux, slot, pairs, out):  # type: ignore[no-untyped-def]
    """Write the contrast of each pair of slots, from the fluxes nearest to offset 0."""
    nearest = np.full(_N_SLOTS, -1, np.int64)
    for i in range(len(flux)):
        b = slot[i]
        if abs(offset[i]) <= _COLOUR_DAYS and (
            nearest[b] < 0 or abs(offset[i]) <= abs(offset[nearest[b]])
        ):
            nearest[b] = i
    for p in range(len(pairs)):
        i, j = nearest[pairs[p, 0]], nearest[pairs[p, 1]]
        if i >= 0 and j >= 0:
            total = abs(flux[i]) + abs(flux[j])
            out[p] = (flux[j] - flux[i]) / total if total > 0.0 else 0.0


@compiled
def _of_curve(age, flux, err, detected, scale, peak, out):  # type: ignore[no-untyped-def]
    last = len(flux) - 1
    found = np.flatnonzero(detected)
    out[0], out[1], out[2] = np.log(scale), np.log1p(len(flux)), np.log1p(len(found))
    if len(found):
        first = found[0]
        out[3] = age[first]
        if first > 0:
            out[4] = age[first - 1] - age[first]
        out[9] = np.mean((flux[found] < 0.0).astype(np.float64))
    out[5] = age[peak]
    out[6], out[7] = np.arcsinh(flux[last] / _FLUX_NJY), np.arcsinh(flux[last] / err[last])
    if last > 0:
        out[8] = np.max(age[:-1] - age[1:])
