"""Outbursts of dwarf novae.

Notation: n sources, m evaluations, E outbursts in all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.noise import flux_of_magnitude
from models.simulate.source import REFERENCE_DAYS, Sources
from models.simulate.variables.occurrences import recurring
from models.simulate.variables.population import VariablePopulation, parametric, stars
from models.simulate.variables.starlight import apparent_magnitudes, at_band, black_body_magnitudes

__all__ = ["dwarf_novae"]

_QUIET_R_MAG: Final = {"ztf": (17.0, 22.5), "lsst": (18.5, 26.0)}
_COUNTS_SLOPE: Final = 0.15
_SUPEROUTBURSTS: Final = 0.25
_LONGEST_DAYS: Final = 365.0
_QUIET_COLOURS: Final = np.array([0.0, 0.25, 0.0, -0.2, -0.35, -0.4])  # disc and red dwarf


def dwarf_novae() -> VariablePopulation:
    """Return the population of dwarf novae, an outburst at each reference time."""
    return parametric("DN", _draw)


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    """Draw dwarf novae.

    Normal outbursts of 2 to 5 mag last 2 to 6 days, superoutbursts of 4 to 8 mag have a
    plateau of 10 to 20 days that fades by .1 mag a day; recurrence of 15 to 1000 days,
    rarer for the larger ones (Warner 1995, Cataclysmic Variable Stars; Coppejans et al. 2016,
    MNRAS 456, 4441). The disc in outburst has about 12,000 to 20,000 K.
    """
    n = len(group)
    magnitude = apparent_magnitudes(rng, n, *_QUIET_R_MAG[survey], _COUNTS_SLOPE)
    tint = rng.normal(0, 0.25, (n, 1)) * np.array([1.0, 1.0, 0.0, -0.6, -0.9, -1.0])
    quiet = flux_of_magnitude(magnitude[:, None] + _QUIET_COLOURS + tint)
    amplitude = np.clip(rng.normal(3.8, 1.2, n), 1.8, 7.5)
    disc = magnitude[:, None] - amplitude[:, None]
    disc = flux_of_magnitude(disc + black_body_magnitudes(rng.uniform(12000, 20000, n)))
    interval = np.clip(np.exp(rng.normal(np.log(20) + 0.45 * amplitude, 0.8)), 15, 1000)
    outbursts = recurring(rng, interval, 0.2, -REFERENCE_DAYS, _LONGEST_DAYS)
    n_outbursts = len(outbursts.days)
    is_super = rng.random(n_outbursts) < _SUPEROUTBURSTS
    plateau = np.where(
        is_super, rng.uniform(9, 20, n_outbursts), rng.uniform(0.5, 4.0, n_outbursts)
    )
    fainter = np.where(is_super, 0.0, rng.uniform(0.2, 1.2, n_outbursts))
    rise, fall = rng.uniform(0.3, 1.2, n), rng.uniform(0.35, 0.7, n)

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        outburst = outbursts.latest(source, days)
        k = np.maximum(outburst, 0)
        age = days - outbursts.days[k]
        below = _below_peak(age, rise[source], plateau[k], fall[source]) + fainter[k]
        bright = np.where(outburst >= 0, 10 ** (-0.4 * below), 0.0)
        return at_band(quiet, source, band) + at_band(disc, source, band) * bright

    return stars(group, flux, np.full(n, -3.0), np.full(n, 30.0))


def _below_peak(
    age: npt.NDArray[np.float64],
    rise_days: npt.NDArray[np.float64],
    plateau_days: npt.NDArray[np.float64],
    fall_days_per_mag: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return magnitudes below the peak: a fast rise, a sloping plateau and a decline, [m]."""
    rising = 4.0 * np.maximum(1 - age / rise_days, 0.0)
    fading = 0.1 * np.clip(age - rise_days, 0.0, plateau_days)
    falling = np.maximum(age - rise_days - plateau_days, 0.0) / fall_days_per_mag
    return np.asarray(np.minimum(rising + fading + falling, 20.0))
