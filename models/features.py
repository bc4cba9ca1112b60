r"""From light curves to the tokens that a model reads: the only copy of that code.

Training, evaluation, compression, replay and serving all call `model_inputs`, or
`chunked_inputs` for the same tensors in chunks of another shape, through
`models.feature_sets`.

Notation: n curves, B curves of one length bucket, L observations (padded), C
channels per observation, G channels per object, S band slots.

Every observation up to the triggering one is a token. Its channels are

======================  ======================================================
``time``                t - t(triggering observation), days, <= 0
``log_wavelength``      ln(effective wavelength / 6000 A)
``flux``                asinh(flux / scale)
``log_flux_err``        ln(flux error / scale)
``snr``                 asinh(flux / flux error)
``detected``            1 for a detection, 0 for forced photometry and limits
``latest_flux_S``       ``flux`` of the latest observation in slot S, this one included
``latest_weight_S``     exp(-age / 20 d) of that observation, 0 where there is none
``next_flux_S``         the same for the next observation in slot S after this one
``next_weight_S``
======================  ======================================================

and those of the object ``log_scale`` (log10 of scale in nJy), ``log_count`` and
``log_detections`` (ln(1 + number)), and of its host galaxy ``log_redshift`` (ln z, for z
of at least 0.001), ``redshift_err`` (error of z / (1 + z)) and ``redshift_known`` (1 where
there is a redshift; all three 0 where there is none). ``log_count`` counts all
observations up to the triggering one, ``log_detections`` only those kept when a long
history is thinned to the last bucket. The scale is the largest \|flux\| with S/N above 3,
else the largest flux error. Slots are the six LSST bands; a band of another survey takes
the slot that is nearest in log wavelength.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.jit import compiled
from models.lightcurve import LOG_WAVELENGTH, LightCurves

__all__ = [
    "FEATURE_SPEC",
    "INPUT_NAMES",
    "LENGTH_BUCKETS",
    "OBJECT_CHANNELS",
    "TOKEN_CHANNELS",
    "ModelInputs",
    "check_rows",
    "chunked_inputs",
    "model_inputs",
    "n_usable",
    "object_channels",
    "thinned",
]

FEATURE_SPEC: Final = "observation-tokens/2"
"""Name and version of everything below; a change of any value changes it."""

INPUT_NAMES: Final = ("tokens", "mask", "objects")
"""Graph inputs: the arrays of `ModelInputs`, in order."""

LENGTH_BUCKETS: Final = (8, 16, 32, 64, 128, 256)
"""Padded lengths. Histories beyond the last are thinned to it."""

_SLOT_NAMES: Final = "ugrizy"
_SLOTS: Final = len(_SLOT_NAMES)
_OWN: Final = 6

TOKEN_CHANNELS: Final[tuple[str, ...]] = (
    "time",
    "log_wavelength",
    "flux",
    "log_flux_err",
    "snr",
    "detected",
    *(
        f"{kind}_{slot}"
        for kind in ("latest_flux", "latest_weight", "next_flux", "next_weight")
        for slot in _SLOT_NAMES
    ),
)
"""[C]"""

OBJECT_CHANNELS: Final[tuple[str, ...]] = (
    "log_scale",
    "log_count",
    "log_detections",
    "log_redshift",
    "redshift_err",
    "redshift_known",
)
"""[G]"""

_SLOT: Final = np.argmin(
    np.abs(LOG_WAVELENGTH[:, None] - LOG_WAVELENGTH[None, :_SLOTS]), axis=1
).astype(np.int64)
_ALIGN: Final = 8
_AGE_DAYS: Final = 20.0
_SCALE_SNR: Final = 3.0
_LEAST_REDSHIFT: Final = 1e-3


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The tensors of the B curves of one length bucket."""

    rows: npt.NDArray[np.int64]
    """[B] which curves these are."""
    tokens: npt.NDArray[np.float32]
    """[B, L, C] zero where padded."""
    mask: npt.NDArray[np.bool_]
    """[B, L] True for observations."""
    objects: npt.NDArray[np.float32]
    """[B, G]"""

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the tensors in the order of `INPUT_NAMES`."""
        return self.tokens, self.mask, self.objects


def n_usable(curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count the observations up to the triggering one, [n]."""
    up_to = curves.mjd <= np.repeat(trigger_mjd, curves.n_observations)
    total = np.zeros(len(up_to) + 1, np.int64)
    np.cumsum(up_to, out=total[1:])
    return total[curves.splits[1:]] - total[curves.splits[:-1]]


def model_inputs(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64] | None = None,
    length_buckets: Sequence[int] = LENGTH_BUCKETS,
) -> list[ModelInputs]:
    """Return the tensors of curves, one `ModelInputs` per length bucket that occurs.

    ``trigger_mjd`` [n] is the time of each curve's triggering observation, days;
    later observations are left out. ``rows`` selects curves (all by default);
    those with no observation left get all-zero tensors with an all-False mask.
    `DataError` for rows that are not there and for a wrong number of triggers.
    """
    if rows is None:
        rows = np.arange(len(curves))
    check_rows(curves, trigger_mjd, rows)
    lengths = n_usable(curves, trigger_mjd)
    edges = np.asarray(length_buckets)
    bucket = np.minimum(np.searchsorted(edges, lengths[rows]), len(edges) - 1)
    return [
        _tensors(curves, trigger_mjd, lengths, rows[bucket == b], int(edges[b]))
        for b in np.unique(bucket)
    ]


def object_channels(
    curves: LightCurves, trigger_mjd: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the channels of the objects alone, [B, G], as `model_inputs` does."""
    check_rows(curves, trigger_mjd, rows)
    lengths = n_usable(curves, trigger_mjd)[rows]
    objects = np.zeros((len(rows), len(OBJECT_CHANNELS)), np.float32)
    _describe_all(
        curves.splits[rows],
        lengths,
        curves.band,
        curves.flux,
        curves.flux_err,
        curves.detected,
        _SLOT,
        LENGTH_BUCKETS[-1],
        objects,
    )
    _add_redshift(curves, rows, objects)
    return objects


def chunked_inputs(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    max_tokens: int,
    call_tokens: int,
) -> Iterator[ModelInputs]:
    """Yield the tensors of curves in chunks that are cheap to run, longest curves first.

    A chunk has at most ``max_tokens`` tokens, padding included, and is padded to its
    longest curve (up to a multiple of 8). It ends early where shorter curves begin, if that
    spares more padding than ``call_tokens``, the tokens that one more call is worth.
    The values are those of `model_inputs`, with its errors.
    """
    check_rows(curves, trigger_mjd, rows)
    lengths = n_usable(curves, trigger_mjd)
    padded = np.clip(-(-lengths[rows] // _ALIGN) * _ALIGN, _ALIGN, LENGTH_BUCKETS[-1])
    order = np.argsort(-padded, kind="stable")
    rows, padded = rows[order], padded[order]
    steps = np.flatnonzero(np.diff(padded)) + 1
    start = 0
    while start < len(rows):
        size = int(padded[start])
        end = min(len(rows), start + max(1, max_tokens // size))
        inside = steps[(steps > start) & (steps < end)]
        spared = (size - padded[inside]) * (end - inside)
        if (spared > call_tokens).any():
            end = int(inside[np.argmax(spared > call_tokens)])
        yield _tensors(curves, trigger_mjd, lengths, rows[start:end], size)
        start = end


def _tensors(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    size: int,
) -> ModelInputs:
    """Return the tensors of rows that exist, padded or thinned to a length."""
    tokens = np.zeros((len(rows), size, len(TOKEN_CHANNELS)), np.float32)
    mask = np.zeros((len(rows), size), np.bool_)
    objects = np.zeros((len(rows), len(OBJECT_CHANNELS)), np.float32)
    _fill(
        curves.splits[rows],
        lengths[rows],
        trigger_mjd[rows],
        curves.mjd,
        curves.band,
        curves.flux,
        curves.flux_err,
        curves.detected,
        LOG_WAVELENGTH,
        _SLOT,
        tokens,
        mask,
        objects,
    )
    _add_redshift(curves, rows, objects)
    return ModelInputs(rows, tokens, mask, objects)


def _add_redshift(
    curves: LightCurves, rows: npt.NDArray[np.int64], objects: npt.NDArray[np.float32]
) -> None:
    if curves.redshift is None:
        return
    channels = objects[:, OBJECT_CHANNELS.index("log_redshift") :]
    z = curves.redshift[rows]
    known = np.isfinite(z)
    channels[known, 0] = np.log(np.maximum(z[known], _LEAST_REDSHIFT))
    if curves.redshift_err is not None:
        error = np.nan_to_num(curves.redshift_err[rows])
        channels[known, 1] = error[known] / (1 + z[known])
    channels[known, 2] = 1.0


def check_rows(
    curves: LightCurves, trigger_mjd: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> None:
    """Raise `DataError` for rows that are not there and for a wrong number of triggers."""
    # The kernels check no index: one out of bounds would read, and write, foreign memory.
    n = len(curves)
    if len(trigger_mjd) != n:
        raise DataError(f"{len(trigger_mjd)} trigger times for {n} curves", len(trigger_mjd))
    wrong = rows[(rows < 0) | (rows >= n)]
    if len(wrong):
        raise DataError(f"row {wrong[0]} does not exist, there are {n} curves", int(wrong[0]))


def thinned(
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    band: npt.NDArray[np.uint8],
    size: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Thin stretches of observations to at most ``size`` each, as long histories are.

    ``starts`` and ``lengths`` [B] say where in the columns of `LightCurves` they lie. Return
    the observations kept of all of them and where those of each begin, and the end [B + 1].
    """
    splits = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(np.minimum(lengths, size), out=splits[1:])
    kept = np.empty(splits[-1], np.int64)
    _thin_all(starts, lengths, band, _SLOT, splits, kept)
    return splits, kept


@compiled
def _fill(  # type: ignore[no-untyped-def]
    starts,
    lengths,
    triggers,
    mjd,
    band,
    flux,
    flux_err,
    detected,
    log_wavelength,
    slot_of,
    tokens,
    mask,
    objects,
):
    size = tokens.shape[1]
    kept = np.empty(size, np.int64)
    for row in range(len(starts)):
        n = _thin(starts[row], lengths[row], band, slot_of, kept)
        if n == 0:
            continue
        scale = _describe(kept[:n], lengths[row], flux, flux_err, detected, objects[row])
        for i in range(n):
            j = kept[i]
            token = tokens[row, i]
            token[0] = mjd[j] - triggers[row]
            token[1] = log_wavelength[band[j]]
            token[2] = np.arcsinh(flux[j] / scale)
            token[3] = np.log(flux_err[j] / scale)
            token[4] = np.arcsinh(flux[j] / flux_err[j])
            token[5] = detected[j]
            mask[row, i] = True
        _context(kept[:n], mjd, band, slot_of, tokens[row])


@compiled
def _thin(start, length, band, slot_of, kept):  # type: ignore[no-untyped-def]
    """Write the observations to keep, in order of time, and return how many.

    The newest half of what fits stays whole. The older ones are put in order of
    slot, then time, and taken at equal steps: every band keeps its share and
    every band is thinned evenly in time.
    """
    size = len(kept)
    if length <= size:
        for i in range(length):
            kept[i] = start + i
        return length
    newest = size // 2
    n_old, n_take = length - newest, size - newest
    ends = np.zeros(_SLOTS, np.int64)
    for j in range(start, start + n_old):
        ends[slot_of[band[j]]] += 1
    position = np.cumsum(ends) - ends
    n = 0
    for j in range(start, start + n_old):
        slot = slot_of[band[j]]
        p = position[slot]
        position[slot] += 1
        # Item p of n_old is taken when a multiple of n_old / n_take falls into it.
        if (p + 1) * n_take // n_old > p * n_take // n_old:
            kept[n] = j
            n += 1
    for i in range(newest):
        kept[n + i] = start + n_old + i
    return n + newest


@compiled
def _thin_all(starts, lengths, band, slot_of, splits, kept):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        _thin(starts[row], lengths[row], band, slot_of, kept[splits[row] : splits[row + 1]])


@compiled
def _describe_all(starts, lengths, band, flux, flux_err, detected, slot_of, size, objects):  # type: ignore[no-untyped-def]
    kept = np.empty(size, np.int64)
    for row in range(len(starts)):
        n = _thin(starts[row], lengths[row], band, slot_of, kept)
        if n > 0:
            _describe(kept[:n], lengths[row], flux, flux_err, detected, objects[row])


@compiled
def _describe(kept, length, flux, flux_err, detected, channels):  # type: ignore[no-untyped-def]
    """Write what the observations say of the object; return the scale."""
    scale = _scale(kept, flux, flux_err)
    detections = 0
    for j in kept:
        detections += detected[j]
    channels[0] = np.log10(scale)
    channels[1] = np.log1p(length)
    channels[2] = np.log1p(detections)
    return scale


@compiled
def _scale(kept, flux, flux_err):  # type: ignore[no-untyped-def]
    scale = 0.0
    largest_err = 0.0
    for j in kept:
        magnitude = abs(np.float64(flux[j]))
        if magnitude > _SCALE_SNR * flux_err[j]:
            scale = max(scale, magnitude)
        largest_err = max(largest_err, np.float64(flux_err[j]))
    return scale if scale > 0.0 else largest_err


@compiled
def _context(kept, mjd, band, slot_of, tokens):  # type: ignore[no-untyped-def]
    """Write the latest and the next value in each slot, one pass in each direction."""
    n = len(kept)
    seen = np.full(_SLOTS, -1, np.int64)
    for i in range(n):
        seen[slot_of[band[kept[i]]]] = i
        _neighbours(seen, kept, mjd, tokens, i, _OWN)
    seen[:] = -1
    for i in range(n - 1, -1, -1):
        _neighbours(seen, kept, mjd, tokens, i, _OWN + 2 * _SLOTS)
        seen[slot_of[band[kept[i]]]] = i


@compiled
def _neighbours(seen, kept, mjd, tokens, i, first):  # type: ignore[no-untyped-def]
    for slot in range(_SLOTS):
        k = seen[slot]
        if k >= 0:
            tokens[i, first + slot] = tokens[k, 2]
            age = abs(mjd[kept[i]] - mjd[kept[k]])
            weight = np.exp(-age / _AGE_DAYS) if age > 0.0 else 1.0
            tokens[i, first + _SLOTS + slot] = weight
