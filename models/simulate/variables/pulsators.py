"""Cepheids and delta Scuti stars as sums of harmonics, or real stars as templates.

Notation: n sources, m evaluations, G templates, N steps of phase.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import BANDS
from models.simulate.source import FluxModel, Sources
from models.simulate.variables.folded import STEPS, folded
from models.simulate.variables.population import (
    VariablePopulation,
    brightness,
    half_windows,
    stars,
)
from models.simulate.variables.starlight import apparent_magnitudes, interpolated
from models.simulate.variables.ztf_stars import FoldedStars, load_ztf_stars

__all__ = ["cepheids", "delta_scuti"]

_AMPLITUDE_OF_G: Final = np.array([1.25, 1.0, 0.70, 0.56, 0.49, 0.46])  # ugrizy
_CEPHEID_COLOURS: Final = np.array([1.9, 0.6, 0.0, -0.22, -0.32, -0.36])
_SCUTI_COLOURS: Final = np.array([1.3, 0.12, 0.0, 0.0, 0.02, 0.03])
_R_MAG: Final = {"ztf": (12.8, 18.5), "lsst": (16.0, 23.0)}
_WAVES: Final = 16  # shapes of which each class is made where no real stars are given
_HARMONICS: Final = 5

_Draw = Callable[
    [np.random.Generator, int],
    tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
]


def cepheids(ztf_stars: Path | None = None) -> VariablePopulation:
    """Return the population of classical Cepheids.

    Periods log-uniform from 1.5 to 50 d, g amplitudes .3 to 1.5 mag that grow with the
    period (Klagyivik & Szabados 2009, A&A 504, 959).
    """

    def draw(
        rng: np.random.Generator, n: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        period = np.exp(rng.uniform(np.log(1.5), np.log(50.0), n))
        return period, np.clip(rng.normal(0.7 + 0.3 * np.log10(period), 0.2), 0.3, 1.5)

    # Skewed waves: amplitudes and phases of the harmonics of Cepheids near 5 days.
    shapes = _waves(11, 0.42, 2.9, 0.25)
    return _population("Cepheid", "Cepheid", draw, shapes, _CEPHEID_COLOURS, ztf_stars)


def delta_scuti(ztf_stars: Path | None = None) -> VariablePopulation:
    """Return the population of delta Scuti stars.

    Periods .04 to .2 d, g amplitudes .08 to .8 mag, most of the high-amplitude stars that
    surveys of difference images see (Jayasinghe et al. 2020, MNRAS 493, 4186).
    """

    def draw(
        rng: np.random.Generator, n: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        period = np.clip(np.exp(rng.normal(np.log(0.08), 0.4, n)), 0.04, 0.22)
        return period, np.clip(np.exp(rng.normal(np.log(0.3), 0.5, n)), 0.08, 0.8)

    shapes = _waves(12, 0.25, 2.6, 0.15)
    return _population("d-Sct", "Delta Sct", draw, shapes, _SCUTI_COLOURS, ztf_stars)


def _waves(seed: int, ratio: float, phase: float, scatter: float) -> npt.NDArray[np.float32]:
    """Return fixed skewed waves of unit amplitude and zero mean, [G, rows of BANDS, N].

    Harmonic k has about the amplitude ratio^(k - 1) and the phase (k - 1) ``phase`` relative
    to the first, as those of pulsating stars do.
    """
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(STEPS) / STEPS
    shapes = np.zeros((_WAVES, STEPS))
    for k in range(1, _HARMONICS + 1):
        amplitude = ratio ** (k - 1) * rng.uniform(0.7, 1.3, (_WAVES, 1))
        shift = (k - 1) * (phase + rng.normal(0, scatter, (_WAVES, 1)))
        shapes += amplitude * np.cos(k * angle + shift)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.ptp(shapes, axis=1, keepdims=True)
    return np.repeat(shapes[:, None, :], len(BANDS), axis=1).astype(np.float32)


def _population(
    name: str,
    ztf_class: str,
    draw: _Draw,
    shapes: npt.NDArray[np.float32],
    colours: npt.NDArray[np.float64],
    ztf_stars: Path | None,
) -> VariablePopulation:
    names = tuple(f"harmonics {i}" for i in range(len(shapes)))
    real = load_ztf_stars(ztf_stars, ztf_class) if ztf_stars is not None else None
    weights = np.full(len(names), 1 / len(names))
    if real is not None:
        names += real.names
        weights = np.concatenate([weights, np.full(len(real.names), 1 / len(real.names))])

    def make(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
        n = len(group)
        change = _change(rng, group, draw, shapes, real)
        magnitude = apparent_magnitudes(rng, n, *_R_MAG[survey], 0.1)
        tint = rng.normal(0, 0.1, (n, 1)) * np.array([1.5, 1.0, 0.0, -0.5, -0.7, -0.8])
        half = half_windows(rng, n, survey)
        mean = magnitude[:, None] + colours + tint
        return stars(group, brightness(mean, change), -half, half)

    return VariablePopulation(name, make, names, weights)


def _change(
    rng: np.random.Generator,
    group: npt.NDArray[np.int64],
    draw: _Draw,
    shapes: npt.NDArray[np.float32],
    real: FoldedStars | None,
) -> FluxModel:
    """Return the change in magnitudes of sources made from those groups."""
    n = len(group)
    period, amplitude = draw(rng, n)
    amplitudes = interpolated(amplitude[:, None] * _AMPLITUDE_OF_G)
    if real is not None:
        star = group - len(shapes)
        is_star = star >= 0
        period[is_star] = real.period_days[star[is_star]]
        amplitudes[is_star] = rng.normal(1.0, 0.05, (int(is_star.sum()), 1))
        shapes = np.concatenate([shapes, real.curves])
    return folded(shapes, group, amplitudes, period, rng.random(n))
