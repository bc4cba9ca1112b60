"""Populations of variable sources, and the pieces that their classes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.simulate.noise import flux_of_magnitude
from models.simulate.source import FluxModel, Sources
from models.simulate.variables.starlight import at_band

__all__ = ["Draw", "VariablePopulation", "brightness", "half_windows", "parametric", "stars"]

Draw: TypeAlias = Callable[
    [np.random.Generator, npt.NDArray[np.int64], str],
    Sources,
]
"""(rng, group [n], survey) -> n sources made from those groups."""

_STRETCH_DAYS = {"ztf": (100.0, 150.0), "lsst": (150.0, 340.0)}


@dataclass(frozen=True, slots=True)
class VariablePopulation:
    """A class of variables; see `models.simulate.source.Population`."""

    name: str
    make: Draw
    groups: tuple[str, ...]
    weights: npt.NDArray[np.float64]
    galactic: bool = True
    variable: bool = True

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        survey: str,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sources:
        """Draw n sources from the given rows of ``groups``, or from all."""
        rows = np.arange(len(self.groups)) if groups is None else groups
        weight = self.weights[rows]
        return self.make(rng, rng.choice(rows, n, p=weight / weight.sum()), survey)


def parametric(name: str, make: Draw, galactic: bool = True) -> VariablePopulation:
    """Return a population that is not made from templates: one group with its name."""
    return VariablePopulation(name, make, (name,), np.ones(1), galactic)


def half_windows(rng: np.random.Generator, n: int, survey: str) -> npt.NDArray[np.float64]:
    """Draw half the length in days of the stretch in which a variable is observed, [n]."""
    low, high = _STRETCH_DAYS[survey]
    return np.asarray(rng.uniform(low, high, n) / 2)


def stars(
    group: npt.NDArray[np.int64],
    flux: FluxModel,
    start_days: npt.NDArray[np.float64],
    end_days: npt.NDArray[np.float64],
) -> Sources:
    """Return sources in the Milky Way, which have no redshift."""
    redshift = np.full(len(group), np.nan, np.float32)
    return Sources(group, redshift, flux, start_days, end_days)


def brightness(
    magnitudes: npt.NDArray[np.floating],
    change: Callable[
        [npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]],
        npt.NDArray[np.float64],
    ],
) -> FluxModel:
    """Return the flux of sources of mean ``magnitudes`` [n, 6] plus a ``change`` in magnitudes."""

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        return flux_of_magnitude(at_band(magnitudes, source, band) + change(source, days, band))

    return flux
