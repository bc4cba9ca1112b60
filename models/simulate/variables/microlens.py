"""Microlensing of stars by single lenses.

Paczynski 1986 (ApJ 304, 1): A(u) = (u^2 + 2) / (u sqrt(u^2 + 4)) with
u^2 = u_0^2 + (t / t_E)^2; only part of the light is lensed (blending).

Notation: n sources, m evaluations.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.noise import flux_of_magnitude
from models.simulate.source import Sources
from models.simulate.variables.population import VariablePopulation, parametric, stars
from models.simulate.variables.starlight import apparent_magnitudes, at_band, star_colours

__all__ = ["magnification", "microlensing"]

_R_MAG: Final = {"ztf": (14.5, 20.8), "lsst": (17.0, 24.5)}
_COUNTS_SLOPE: Final = 0.25
_LONGEST_DAYS: Final = {"ztf": 130.0, "lsst": 185.0}


def microlensing() -> VariablePopulation:
    """Return the population of single-lens events."""
    return parametric("mu-Lens", _draw)


def magnification(u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the magnification of a point source at ``u`` Einstein radii."""
    return np.asarray((u**2 + 2) / (u * np.sqrt(u**2 + 4)))


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    """Draw events.

    Einstein times: log-normal, median 25 d, .75 in the logarithm, between the bulge
    (Mroz et al. 2019, ApJS 244, 29: 20 d) and the longer events of the disc (Mroz et al.
    2020, ApJS 249, 16); u_0 uniform. Sources: dwarfs and giants of 3,700 to 8,000 K. In
    half of the events other stars contribute, of their own colour.
    """
    n = len(group)
    einstein_days = np.clip(np.exp(rng.normal(np.log(25.0), 0.75, n)), 2.0, 300.0)
    nearest = rng.uniform(0.005, 1.1, n)
    colours = star_colours(np.clip(rng.normal(5100, 750, n), 3700, 8000))
    magnitude = apparent_magnitudes(rng, n, *_R_MAG[survey], _COUNTS_SLOPE)
    light = flux_of_magnitude(magnitude[:, None] + colours)
    lensed = np.where(rng.random(n) < 0.5, 1.0, rng.uniform(0.08, 1.0, n))
    blend_colours = star_colours(np.clip(rng.normal(4900, 800, n), 3300, 8000))
    blend = flux_of_magnitude(magnitude[:, None] + blend_colours) * (1 / lensed - 1)[:, None]

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        u = np.hypot(nearest[source], days / einstein_days[source])
        return at_band(light, source, band) * magnification(u) + at_band(blend, source, band)

    half = np.minimum(2.0 * einstein_days, _LONGEST_DAYS[survey])
    return stars(group, flux, -half, half)
