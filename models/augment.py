"""Turn complete light curves into what an alert would have carried.

An alert shows an object up to one detection, and not all that was observed of it
until then. Training and evaluation never see the complete curve but such views.

Notation: n curves, m observations in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import DETECTION_SNR, LOG_WAVELENGTH, LightCurves
from models.recipe import AugmentationRecipe

__all__ = [
    "alert_views",
    "as_alerts",
    "at_detection",
    "at_last_detection",
    "carried_by_alerts",
    "n_detections",
    "random_detection",
]

_ZTF_DAYS: Final = 30.0
"""History that a ZTF alert carries."""
_LSST_DAYS: Final = 365.0
_ZTF_FORCED: Final = 0.3
"""Part of ZTF alerts with forced fluxes, those of schema 4.01 on."""
_ZTF_FORCED_SHARE: Final = (0.2, 0.9)
"""Range of the part of such an alert's exposures without a detection that have a forced flux.

The others are upper limits: of most exposures a real alert has no usable forced flux (.26 to .82
have one in nine tenths of twelve alerts of schemas 4.01 and 4.02)."""
_LSST_PRECOVERY: Final = 0.2
"""Part of LSST alerts with forced fluxes from before the first detection."""


def at_detection(curves: LightCurves, rank: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the times of the detections number ``rank`` [n] (0 = first), days, [n].

    Ranks are clipped to the last detection; a curve without one gives its last observation.
    """
    found = np.flatnonzero(curves.detected)
    first = np.searchsorted(found, curves.splits[:-1])
    count = np.searchsorted(found, curves.splits[1:]) - first
    index = np.append(found, 0)[first + np.clip(rank, 0, np.maximum(count - 1, 0))]
    return np.asarray(curves.mjd[np.where(count > 0, index, curves.splits[1:] - 1)])


def n_detections(curves: LightCurves) -> npt.NDArray[np.int64]:
    """Count the detections of each curve, [n]."""
    total = np.zeros(len(curves.detected) + 1, np.int64)
    np.cumsum(curves.detected, out=total[1:])
    return np.diff(total[curves.splits])


def at_last_detection(curves: LightCurves) -> npt.NDArray[np.float64]:
    """Return the time of the last detection of each curve, days, [n]."""
    return at_detection(curves, n_detections(curves))


def random_detection(curves: LightCurves, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the time of a random detection of each curve, days, [n]."""
    return at_detection(curves, rng.integers(0, np.maximum(n_detections(curves), 1)))


def as_alerts(
    curves: LightCurves, trigger_mjd: npt.NDArray[np.float64], rng: np.random.Generator
) -> LightCurves:
    """Return of complete curves what alerts at the triggers, days, [n], would carry.

    ZTF: the last 30 days; what is no detection is an upper limit (flux 0), in some
    alerts for a part a forced flux. LSST: the last 12 months; forced fluxes from the first
    detection on, in some alerts from before. Curves of other surveys up to the trigger.
    Of which kind an alert is, is drawn from ``rng``.
    """
    n, counts = len(curves), curves.n_observations
    ztf, lsst = curves.survey == "ztf", curves.survey == "lsst"
    days = np.where(ztf, _ZTF_DAYS, np.where(lsst, _LSST_DAYS, np.inf))
    forced = np.where(rng.random(n) < _ZTF_FORCED, rng.uniform(*_ZTF_FORCED_SHARE, n), 0.0)
    limit = np.repeat(ztf, counts) & ~curves.detected
    limit &= rng.random(len(limit)) >= np.repeat(forced, counts)
    begin = np.where(
        lsst & (rng.random(n) >= _LSST_PRECOVERY), at_detection(curves, np.zeros(n, int)), -np.inf
    )
    age = np.repeat(trigger_mjd, counts) - curves.mjd
    keep = (age >= 0) & (age <= np.repeat(days, counts)) & (curves.mjd >= np.repeat(begin, counts))
    flux = np.where(limit, 0, curves.flux)
    return replace(curves, flux=flux.astype(np.float32)).where(keep)


def carried_by_alerts(
    seed: int,
) -> Callable[[LightCurves, npt.NDArray[np.float64]], LightCurves]:
    """Return `as_alerts` with the same draws at every call, so that models can be compared."""
    return lambda curves, trigger: as_alerts(curves, trigger, np.random.default_rng([seed, 6]))


def alert_views(
    curves: LightCurves, rng: np.random.Generator, how: AugmentationRecipe
) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return one random view of each curve and its trigger times, days, [n]."""
    n = len(curves)
    curves = _dim(curves, rng, how)
    trigger = np.where(
        rng.random(n) < how.early, random_detection(curves, rng), at_last_detection(curves)
    )
    curves = as_alerts(curves, trigger, rng)
    counts = curves.n_observations
    drop = np.where(rng.random(n) < how.drop, rng.uniform(0, how.drop_fraction, n), 0.0)
    days = np.where(rng.random(n) < how.short, how.short_days, np.inf)
    only = rng.random(n) < how.detections_only
    age = np.repeat(trigger, counts) - curves.mjd
    keep = rng.random(len(age)) >= np.repeat(drop, counts)
    keep &= curves.detected | ~np.repeat(only, counts)
    keep |= age == 0
    keep &= age <= np.repeat(days, counts)
    return _warp(curves.where(keep), trigger, rng, how), trigger


def _warp(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    rng: np.random.Generator,
    how: AugmentationRecipe,
) -> LightCurves:
    """Stretch curves in time about their triggers and tilt their spectra, noise and all."""
    n, counts = len(curves), curves.n_observations
    stretch = np.repeat(np.exp(rng.normal(0.0, how.stretch, n)), counts)
    trigger = np.repeat(trigger_mjd, counts)
    slope = np.repeat(rng.normal(0.0, how.tilt, n), counts)
    factor = np.exp(slope * LOG_WAVELENGTH[curves.band]).astype(np.float32)
    return replace(
        curves,
        mjd=trigger + (curves.mjd - trigger) * stretch,
        flux=curves.flux * factor,
        flux_err=curves.flux_err * factor,
    )


def _dim(curves: LightCurves, rng: np.random.Generator, how: AugmentationRecipe) -> LightCurves:
    """Scale fluxes down and add the noise that keeps their errors true.

    Curves that would lose their last detection stay as they are.
    """
    if how.dim == 0:
        return curves
    n, counts = len(curves), curves.n_observations
    mag = np.where(rng.random(n) < how.dim, rng.uniform(0, how.dim_mag, n), 0.0)
    factor = np.repeat(10 ** (-0.4 * mag), counts)
    noise = rng.standard_normal(len(factor)) * np.sqrt(1 - factor**2)
    flux = (curves.flux * factor + curves.flux_err * noise).astype(np.float32)
    detected = curves.detected & (np.abs(flux) > DETECTION_SNR * curves.flux_err)
    dimmed = replace(curves, flux=flux, detected=detected)
    seen = np.repeat((n_detections(dimmed) > 0) & (mag > 0), counts)
    return replace(
        curves,
        flux=np.where(seen, flux, curves.flux),
        detected=np.where(seen, detected, curves.detected),
    )
