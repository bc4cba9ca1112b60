"""Turn complete light curves into what an alert would have carried.

An alert shows an object up to one detection. Training therefore never sees the
complete curve but its history at the last or at a random detection, with
observations missing and often with only the 30 days that a ZTF alert carries.

Notation: n curves, m observations in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.lightcurve import DETECTION_SNR, LightCurves

__all__ = [
    "Augmentation",
    "alert_views",
    "at_detection",
    "at_last_detection",
    "n_detections",
    "random_detection",
]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often, as a probability per curve, and how far curves are changed."""

    early: float = 0.5
    """Cut at a random detection instead of the last."""
    dim: float = 0.0
    """Dim by up to ``dim_mag`` magnitudes, with the noise that belongs to it.

    Off: without a redshift the brightness itself tells the classes apart, and dimming
    made the validation log-loss on SPCC worse.
    """
    dim_mag: float = 1.0
    drop: float = 0.25
    """Drop up to ``drop_fraction`` of the observations."""
    drop_fraction: float = 0.5
    short: float = 0.2
    """Keep only the last ``short_days`` days, as ZTF alerts do."""
    short_days: float = 30.0
    detections_only: float = 0.1
    """Keep no forced photometry and no limits."""


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


def alert_views(
    curves: LightCurves, rng: np.random.Generator, how: Augmentation
) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return one random view of each curve and its trigger times, [n]."""
    n, counts = len(curves), curves.n_observations
    curves = _dim(curves, rng, how)
    trigger = np.where(
        rng.random(n) < how.early, random_detection(curves, rng), at_last_detection(curves)
    )
    drop = np.where(rng.random(n) < how.drop, rng.uniform(0, how.drop_fraction, n), 0.0)
    days = np.where(rng.random(n) < how.short, how.short_days, np.inf)
    only = rng.random(n) < how.detections_only
    age = np.repeat(trigger, counts) - curves.mjd
    keep = rng.random(len(age)) >= np.repeat(drop, counts)
    keep &= curves.detected | ~np.repeat(only, counts)
    keep |= age == 0
    keep &= (age >= 0) & (age <= np.repeat(days, counts))
    return curves.where(keep), trigger


def _dim(curves: LightCurves, rng: np.random.Generator, how: Augmentation) -> LightCurves:
    """Scale fluxes down and add the noise that keeps their errors true.

    Curves that would lose their last detection stay as they are.
    """
    n, counts = len(curves), curves.n_observations
    mag = np.where(rng.random(n) < how.dim, rng.uniform(0, how.dim_mag, n), 0.0)
    factor = np.repeat(10 ** (-0.4 * mag), counts)
    noise = rng.standard_normal(len(factor)) * np.sqrt(1 - factor**2)
    flux = (curves.flux * factor + curves.flux_err * noise).astype(np.float32)
    detected = curves.detected & (flux > DETECTION_SNR * curves.flux_err)
    dimmed = LightCurves(curves.splits, curves.mjd, curves.band, flux, curves.flux_err, detected)
    seen = np.repeat((n_detections(dimmed) > 0) & (mag > 0), counts)
    return LightCurves(
        curves.splits,
        curves.mjd,
        curves.band,
        np.where(seen, flux, curves.flux),
        curves.flux_err,
        np.where(seen, detected, curves.detected),
    )
