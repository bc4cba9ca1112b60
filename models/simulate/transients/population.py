"""Populations of transients whose spectra are tabulated.

Notation: n sources, K candidates, R series, G groups, B bands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import BANDS
from models.simulate.source import Sources
from models.simulate.transients.photometry import TABLE_BANDS
from models.simulate.transients.spectral import SpectralSources
from models.simulate.transients.volume import Redshifts, place, survey_depth

__all__ = ["BASELINE_DAYS", "CANDIDATES", "Series", "SpectralPopulation", "Traits", "draw_groups"]

_FloatArray = npt.NDArray[np.float64]

CANDIDATES: Final = 8
"""Candidates of each source, of which one is kept by the volume in which it is detected."""
BASELINE_DAYS: Final = 30.0
"""Observed days before first light: as far back as an alert's history of upper limits goes."""
_BAND_WAVELENGTH: Final = np.array([band.wavelength_aa for band in BANDS[:TABLE_BANDS]])
_VISUAL_LAW: Final = 3.1
_PIVOT_AA: Final = 4400.0  # the B band, in which magnitudes are drawn


@dataclass(frozen=True, slots=True)
class Series:
    """R spectral series of one class, ready to be redshifted."""

    table: npt.NDArray[np.float32]
    """[R, Z, B, P, 3 or 6] see `Photometry.table`; flux is 1 at B = 0 (Vega) at peak."""
    group: npt.NDArray[np.int64]
    """[R] row of the population's groups."""
    first: _FloatArray
    """[R] rest-frame phase of first light."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a source has by nature, for K candidates of n sources or one of each: [n, K] or [n]."""

    magnitude: _FloatArray
    """Peak absolute B magnitude (Vega) before dust."""
    colour: _FloatArray
    """E(B-V) of the host's dust, or c of SALT."""
    shape: _FloatArray
    """Weight of the second component (x1 of SALT), else 0."""
    stretch: _FloatArray
    """Factor on rest-frame time."""

    def pick(self, which: npt.NDArray[np.int64]) -> Traits:
        """Keep one candidate of each source, ``which`` [n]."""
        rows = np.arange(len(which))
        return Traits(
            self.magnitude[rows, which],
            self.colour[rows, which],
            self.shape[rows, which],
            self.stretch[rows, which],
        )


@dataclass(frozen=True)
class SpectralPopulation:
    """A class of transients drawn from spectral series: a `models.simulate.source.Population`."""

    name: str
    groups: tuple[str, ...]
    weights: _FloatArray
    load: Callable[[], Series]
    """Build the tables; called once, on the first draw."""
    traits: Callable[[np.random.Generator, npt.NDArray[np.int64]], Traits]
    """Draw candidates [n, K] for given series [n]."""
    redshifts: Redshifts
    last_phase: float
    """Rest-frame days after peak at which observation ends."""
    diversity: float = 1.0
    """Scale of the random deviations from the series; 0 for none."""
    dispersion: Callable[[_FloatArray], _FloatArray] | None = None
    """Scatter in magnitudes of a band at a rest-frame wavelength; None: that of a template."""
    variable: bool = False
    galactic: bool = False

    @cached_property
    def series(self) -> Series:
        """Return the tables, built on first use and kept."""
        return self.load()

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        survey: str,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sources:
        """Draw n sources that ``survey`` detects; see `models.simulate.source.Population`."""
        group = draw_groups(rng, self.weights, n, groups)
        sources = self.draw_sources(rng, group, survey)
        per_day = (1.0 + sources.z) * sources.stretch
        return Sources(
            group=group,
            redshift=sources.z.astype(np.float32),
            flux=sources.flux,
            start_days=self.series.first[sources.series] * per_day - BASELINE_DAYS,
            end_days=self.last_phase * per_day,
        )

    def draw_sources(
        self, rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str
    ) -> SpectralSources:
        """Draw sources of the given groups [n] with all their parameters."""
        n = len(group)
        depth = survey_depth(rng, n, survey)
        series = _series_of(rng, group, self.series.group)
        candidates = self.traits(rng, series)
        # SALT's c and dust both dim V by about 3 per magnitude of B-V.
        seen = candidates.magnitude + _VISUAL_LAW * candidates.colour
        which = self.redshifts.choose(rng, seen, depth)
        traits = candidates.pick(which)
        tilt = rng.normal(0.0, 0.1 * self.diversity, n)
        noise = rng.standard_normal((n, TABLE_BANDS))

        def at(z: _FloatArray) -> SpectralSources:
            return SpectralSources(
                self.series.table,
                series,
                z,
                traits.magnitude,
                traits.shape,
                traits.colour,
                traits.stretch,
                self._offset(z, tilt, noise),
            )

        brightness = seen[np.arange(n), which]
        return at(place(rng, self.redshifts, brightness, depth, lambda z: at(z).peak(survey)))

    def _offset(self, z: _FloatArray, tilt: _FloatArray, noise: _FloatArray) -> _FloatArray:
        """Return magnitudes [n, B]: a tilt of the spectrum and independent scatter."""
        rest = _BAND_WAVELENGTH / (1.0 + z[:, None])
        scatter = 0.03 if self.dispersion is None else self.dispersion(rest)
        tilted = tilt[:, None] * np.log(rest / _PIVOT_AA)
        return np.asarray(tilted + self.diversity * scatter * noise)


def draw_groups(
    rng: np.random.Generator,
    weights: _FloatArray,
    n: int,
    groups: npt.NDArray[np.int64] | None,
) -> npt.NDArray[np.int64]:
    """Draw the groups of n sources by weight, only from ``groups`` if given, [n]."""
    allowed = np.arange(len(weights)) if groups is None else np.asarray(groups, np.int64)
    share = weights[allowed]
    return allowed[rng.choice(len(allowed), n, p=share / share.sum())]


def _series_of(
    rng: np.random.Generator,
    group: npt.NDArray[np.int64],
    group_of_series: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Draw one of the series of each source's group, [n]."""
    order = np.argsort(group_of_series, kind="stable")
    counts = np.bincount(group_of_series)
    first = np.cumsum(counts) - counts
    nth = (rng.random(len(group)) * counts[group]).astype(np.int64)
    return order[first[group] + nth]
