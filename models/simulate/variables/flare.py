"""Flares of M dwarfs.

The time course is the template of Davenport et al. 2014 (ApJ 797, 122, equations 1 and 4),
the spectrum a black body of about 9,000 to 10,000 K (Hawley & Fisher 1992, ApJS 78, 565;
Kowalski et al. 2013, ApJS 207, 15) on a red dwarf.

Notation: n sources, m evaluations, E events in all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.noise import flux_of_magnitude
from models.simulate.source import REFERENCE_DAYS, Sources
from models.simulate.variables.occurrences import Occurrences, recurring
from models.simulate.variables.population import VariablePopulation, parametric, stars
from models.simulate.variables.starlight import (
    apparent_magnitudes,
    at_band,
    black_body_magnitudes,
    star_colours,
)

__all__ = ["flare_shape", "m_dwarf_flares"]

_R_MAG: Final = {"ztf": (14.5, 20.8), "lsst": (17.0, 24.0)}
_COUNTS_SLOPE: Final = 0.25
_PEAK_RANGE: Final = (0.3, 60.0)  # of g flux, in units of the quiet star's
_PEAK_SLOPE: Final = -0.8  # of the cumulative distribution: energies E^-1.8 (Hilton 2011)
_SEEN_FACTOR: Final = 6.0
_MINUTES: Final = 1 / 1440
_LONGEST_DAYS: Final = 365.0


def m_dwarf_flares() -> VariablePopulation:
    """Return the population of flaring M dwarfs, a flare at each reference time."""
    return parametric("M-dwarf", _draw)


def flare_shape(time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the flux of a flare of unit peak, by time in units of its FWHM, [m]."""
    rise = np.clip(time, -1.0, 0.0)
    rising = 1 + rise * (1.941 + rise * (-0.175 + rise * (-2.246 - 1.125 * rise)))
    fall = np.clip(time, 0.0, 100.0)
    falling = 0.6890 * np.exp(-1.600 * fall) + 0.3030 * np.exp(-0.2783 * fall)
    return np.where(time < 0, np.where(time > -1, rising, 0.0), falling)


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    n = len(group)
    temperature = np.clip(rng.normal(3250, 230, n), 2800, 3850)
    magnitude = apparent_magnitudes(rng, n, *_R_MAG[survey], _COUNTS_SLOPE)
    quiet = flux_of_magnitude(magnitude[:, None] + star_colours(temperature))
    flare = 10 ** (-0.4 * black_body_magnitudes(rng.normal(9500, 700, n)))
    flare *= (quiet / flare)[:, 1:2]  # as bright as the quiet star in g
    # Between large flares; active stars have one every few days, most far more rarely.
    interval = np.exp(rng.uniform(np.log(5.0), np.log(2000.0), n))
    events = recurring(rng, interval, 0.3, -REFERENCE_DAYS, _LONGEST_DAYS)
    low, high = np.power(_PEAK_RANGE, _PEAK_SLOPE)
    peak = rng.uniform(high, low, len(events.days)) ** (1 / _PEAK_SLOPE)
    # A small flare at the reference time would not have been seen.
    peak[events.days == 0] *= _SEEN_FACTOR
    width = np.exp(rng.normal(np.log(6.0), 0.7, len(peak))) * peak**0.3 * _MINUTES

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        active = _activity(events, peak, width, source, days)
        return at_band(quiet, source, band) + at_band(flare, source, band) * active

    longest = np.full(n, 0.06)
    return stars(group, flux, np.full(n, -0.005), longest)


def _activity(
    events: Occurrences,
    peak: npt.NDArray[np.float64],
    width: npt.NDArray[np.float64],
    source: npt.NDArray[np.int64],
    days: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the flux of the flare before and of the one about to peak, relative, [m]."""
    before = events.latest(source, days)
    active = np.zeros(len(days))
    for event in (before, before + 1):
        k = np.clip(event, 0, len(peak) - 1)
        mine = (event >= 0) & (event < len(peak)) & (events.source[k] == source)
        active += np.where(mine, peak[k] * flare_shape((days - events.days[k]) / width[k]), 0.0)
    return active
