"""Mira variables.

Notation: n sources, m evaluations, C cycles.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.source import REFERENCE_DAYS, FluxModel, Sources
from models.simulate.variables.population import (
    VariablePopulation,
    brightness,
    half_windows,
    parametric,
    stars,
)
from models.simulate.variables.starlight import at_band

__all__ = ["miras"]

_AMPLITUDE_OF_G: Final = np.array([0.9, 1.0, 0.82, 0.58, 0.46, 0.40])  # ugrizy
_COLOURS: Final = np.array([3.9, 1.75, 0.0, -1.9, -3.0, -3.5])  # relative to r at 300 days
_REDDER: Final = np.array([0.5, 0.35, 0.0, -0.7, -1.0, -1.2])  # per 150 days of period
_I_MINUS_K: Final = 3.9  # at 300 days
_DISTANCE_MODULUS: Final = {"ztf": (12.0, 19.5), "lsst": (15.5, 25.0)}
_SHORTEST_DAYS: Final = 90.0


def miras() -> VariablePopulation:
    """Return the population of Miras."""
    return parametric("Mira", _draw)


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    """Draw Miras at distances for which the survey is not always saturated.

    Periods as in the General Catalogue of Variable Stars (median near 290 d); K from the
    period-luminosity relation M_K = -7.25 - 3.51 (log P - 2.38) of Whitelock et al. 2008
    (MNRAS 386, 313); amplitudes fall with wavelength and colours redden with period as in
    Iwanek et al. 2021 (ApJS 257, 23), in approximation. Cycles differ in height and length.
    """
    n = len(group)
    period = np.clip(np.exp(rng.normal(np.log(290), 0.33, n)), _SHORTEST_DAYS, 700)
    redder = (period - 300) / 150 + rng.normal(0, 0.35, n)
    colours = _COLOURS + redder[:, None] * _REDDER
    absolute_k = -7.25 - 3.51 * (np.log10(period) - 2.38) + rng.normal(0, 0.15, n)
    absolute_i = absolute_k + _I_MINUS_K + 0.5 * redder
    modulus = rng.uniform(*_DISTANCE_MODULUS[survey], n)
    mean = (absolute_i + modulus)[:, None] + colours - colours[:, 3:4]
    amplitude = np.clip(rng.normal(4.8 + 0.4 * redder, 1.1), 2.5, 8.0)
    half = half_windows(rng, n, survey)
    change = _pulsation(rng, period, amplitude[:, None] * _AMPLITUDE_OF_G)
    return stars(group, brightness(mean, change), -half, half)


def _pulsation(
    rng: np.random.Generator,
    period_days: npt.NDArray[np.float64],
    amplitudes: npt.NDArray[np.float64],
) -> FluxModel:
    """Return the change in magnitudes: a skewed wave whose cycles differ in height, [m].

    The rise takes .35 to .5 of the period; a second harmonic gives some a hump.
    """
    n = len(period_days)
    cycles = int(2 * REFERENCE_DAYS / _SHORTEST_DAYS) + 2
    height = np.cumsum(rng.normal(0, 0.05, (n, cycles)), axis=1)
    height = np.clip(1 + height - height.mean(axis=1, keepdims=True), 0.6, 1.4)
    phase, rise = rng.random(n), rng.uniform(0.35, 0.5, n)
    hump, hump_phase = rng.uniform(0, 0.12, n), rng.random(n)
    middle = cycles // 2

    def change(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        turn = days / period_days[source] + phase[source]
        at = turn % 1.0
        up = rise[source]
        skewed = np.where(at < up, at / up, 1 + (at - up) / (1 - up)) * np.pi  # maximum at pi
        wave = 0.5 * np.cos(skewed)
        wave += hump[source] * np.cos(4 * np.pi * (at + hump_phase[source]))
        place = np.clip(turn + middle, 0, cycles - 1.001)
        step = place.astype(np.int64)
        low = height[source, step]
        scale = low + (place - step) * (height[source, step + 1] - low)
        return np.asarray(at_band(amplitudes, source, band) * wave * scale)

    return change
