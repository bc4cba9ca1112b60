"""Eclipsing binaries: detached, semi-detached and contact.

Both eclipses hide the same area of one star or the other, so that their depths in a band
follow from the stars' temperatures and radii:

    depth_1 = A s_1 / (R_1^2 s_1 + R_2^2 s_2),  depth_2 = A s_2 / (R_1^2 s_1 + R_2^2 s_2)

with surface brightness s and hidden area A. The shape of an eclipse is the function of
Mikulasek 2015 (A&A 584, A8, equation 10), 1 - (1 - exp(1 - cosh(phi / w)))^g; ellipsoidal
and reflected light are the first two cosines of the phase.

Notation: n sources, m evaluations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.noise import flux_of_magnitude
from models.simulate.source import Sources
from models.simulate.variables.population import (
    VariablePopulation,
    half_windows,
    parametric,
    stars,
)
from models.simulate.variables.starlight import (
    apparent_magnitudes,
    at_band,
    star_colours,
)

__all__ = ["eclipsing_binaries"]

_SHARES: Final = (0.35, 0.20, 0.45)  # detached, semi-detached, contact; of those ZTF alerts on
_R_MAG: Final = {"ztf": (13.0, 19.5), "lsst": (16.2, 23.8)}
_COUNTS_SLOPE: Final = {"ztf": 0.12, "lsst": 0.10}


@dataclass(frozen=True, slots=True)
class _Binaries:
    """Parameters of n binaries."""

    period_days: npt.NDArray[np.float64]
    temperature: npt.NDArray[np.float64]
    """[2, n] K, the hotter star first."""
    radius: npt.NDArray[np.float64]
    """[n] of the cooler star in units of the hotter one's."""
    hidden: npt.NDArray[np.float64]
    """[n] hidden fraction of the smaller disc."""
    width: npt.NDArray[np.float64]
    """[n] of the eclipses in phase."""
    flatness: npt.NDArray[np.float64]
    """[n] exponent g of the eclipses' shape."""
    second_phase: npt.NDArray[np.float64]
    """[n] of the second eclipse, .5 on circular orbits."""
    ellipsoidal: npt.NDArray[np.float64]
    """[n] half amplitude, relative flux."""
    reflection: npt.NDArray[np.float64]
    """[n] half amplitude, relative flux."""


def eclipsing_binaries() -> VariablePopulation:
    """Return the population of eclipsing binaries."""
    return parametric("EB", _draw)


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    n = len(group)
    binaries = _binaries(rng, n)
    depth, colours = _depths(binaries)
    mean = colours + apparent_magnitudes(rng, n, *_R_MAG[survey], _COUNTS_SLOPE[survey])[:, None]
    phase = rng.random(n)

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        at = (days / binaries.period_days[source] + phase[source]) % 1.0
        light = _out_of_eclipse(binaries, source, at)
        light -= at_band(depth[0], source, band) * _eclipse(binaries, source, at)
        light -= at_band(depth[1], source, band) * _eclipse(
            binaries, source, at - binaries.second_phase[source]
        )
        return flux_of_magnitude(at_band(mean, source, band)) * np.maximum(light, 0.005)

    half = half_windows(rng, n, survey)
    return stars(group, flux, -half, half)


def _binaries(rng: np.random.Generator, n: int) -> _Binaries:
    """Draw binaries; periods as in ASAS-SN's and ZTF's catalogues.

    Contact: a peak at .37 d, hotter with longer periods, nearly equal temperatures (Chen et
    al. 2020, ApJS 249, 18). Semi-detached: hot primary, large cool secondary. Detached:
    periods to tens of days, narrow eclipses, some eccentric orbits.
    """
    kind = rng.choice(3, n, p=_SHARES)
    detached, contact = kind == 0, kind == 2
    period = np.exp(
        np.choose(
            kind,
            [rng.normal(1.0, 0.9, n), rng.normal(0.3, 0.7, n), rng.normal(np.log(0.37), 0.22, n)],
        )
    )
    period = np.clip(period, np.choose(kind, [0.3, 0.4, 0.215]), np.choose(kind, [60, 20, 1.2]))
    hot = np.choose(
        kind,
        [
            np.clip(rng.normal(6200, 1500, n), 3300, 14000),
            np.clip(rng.normal(8000, 1800, n), 5200, 16000),
            np.clip(5700 + 4500 * (period - 0.37) + rng.normal(0, 350, n), 4000, 8500),
        ],
    )
    ratio = np.choose(
        kind, [rng.beta(5, 1.7, n), rng.uniform(0.45, 0.8, n), rng.uniform(0.9, 1.0, n)]
    )
    cool = np.maximum(hot * ratio, 2900)
    radius = np.choose(
        kind, [rng.uniform(0.4, 1.2, n), rng.uniform(0.8, 1.8, n), rng.uniform(0.4, 1.0, n)]
    )
    width = np.choose(
        kind,
        [0.012 + 0.035 * rng.random(n) * period**-0.4, rng.uniform(0.03, 0.055, n), 0.07],
    )
    eccentric = detached & (period > 3) & (rng.random(n) < 0.4)
    return _Binaries(
        period_days=period,
        temperature=np.stack([hot, np.minimum(cool, hot)]),
        radius=radius,
        hidden=np.where(contact, rng.uniform(0.05, 0.7, n), rng.uniform(0.15, 1.0, n) ** 0.7),
        width=width,
        flatness=np.where(rng.random(n) < 0.25, rng.uniform(1.5, 4, n), rng.uniform(0.7, 1.2, n)),
        second_phase=0.5 + np.where(eccentric, rng.normal(0, 0.08, n), 0.0),
        ellipsoidal=np.choose(
            kind, [0.01 * rng.random(n), rng.uniform(0.02, 0.07, n), rng.uniform(0.05, 0.16, n)]
        ),
        reflection=np.choose(kind, [0.01, 0.03, 0.005]) * rng.random(n),
    )


def _depths(
    binaries: _Binaries,
) -> tuple[list[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Return the depths of both eclipses, each [n, 6], and the colours outside them, [n, 6]."""
    surface = [_surface(temperature) for temperature in binaries.temperature]
    area = binaries.radius[:, None] ** 2
    both = surface[0] + area * surface[1]
    hidden = binaries.hidden[:, None] * np.minimum(1.0, area)
    colours = -2.5 * np.log10(both)
    return [hidden * s / both for s in surface], colours - colours[:, 2:3]


def _surface(temperature: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return surface brightness per band: black body in r, a star's colours, [n, 6]."""
    in_r = 1 / np.expm1(1.438777e8 / (6231.0 * temperature))
    return np.asarray(in_r[:, None] * 10 ** (-0.4 * star_colours(temperature)))


def _out_of_eclipse(
    binaries: _Binaries, source: npt.NDArray[np.int64], phase: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    angle = 2 * np.pi * phase
    return np.asarray(
        1
        - binaries.ellipsoidal[source] * np.cos(2 * angle)
        - binaries.reflection[source] * np.cos(angle)
    )


def _eclipse(
    binaries: _Binaries, source: npt.NDArray[np.int64], phase: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the part of the eclipse centred at phase 0 that is reached, 0 to 1, [m]."""
    distance = np.abs(phase - np.round(phase)) / binaries.width[source]
    uncovered = -np.expm1(1 - np.cosh(np.minimum(distance, 20.0)))
    return np.asarray(1 - uncovered ** binaries.flatness[source])
