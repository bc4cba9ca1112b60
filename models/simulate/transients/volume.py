"""Where sources lie: distances, and redshifts of what a survey can detect.

Flat LambdaCDM with H0 = 70 km/s/Mpc and Omega_m = 0.3. A source's redshift follows
its class' rate per comoving volume and source-frame time out to where its peak
reaches the survey's depth, so that samples are limited by flux, as real ones are.

Notation: n sources, K candidates of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError

__all__ = [
    "Redshifts",
    "detection_bands",
    "distance_modulus",
    "place",
    "star_formation_rate",
    "survey_depth",
]

_FloatArray = npt.NDArray[np.float64]
_Entry = TypeVar("_Entry")

HUBBLE_KM_S_MPC: Final = 70.0
OMEGA_M: Final = 0.3
_LIGHT_KM_S: Final = 299792.458
_Z_MIN: Final = 0.002
_GRID: Final = np.geomspace(_Z_MIN, 4.0, 4000)

_DEPTH: Final = {"ztf": (17.0, 20.7), "lsst": (19.5, 24.2)}
"""Peak AB magnitudes between which the depth of a sample lies.

At the faint end most sources still give several detections. A sample of that depth alone is faint:
its brightest fifth is three fourths of a magnitude from the limit, whereas what ZTF classifies with
a spectrum is brighter than 18.5 to 19 (Bright Transient Survey: Fremling et al. 2020, ApJ 895, 32;
Perley et al. 2020, ApJ 904, 35). Depths of all classes are drawn alike and evenly, so that
brightness alone decides little.
"""
_DETECTION_BANDS: Final = {"ztf": (6, 7), "lsst": (1, 2, 3, 4)}
"""Rows of `models.lightcurve.BANDS`: the deep or frequent bands."""


def _comoving_mpc() -> _FloatArray:
    """Integrate c dz / H(z) from 0 to each node of the grid."""
    z = np.concatenate([[0.0], _GRID])
    inverse = 1.0 / np.sqrt(OMEGA_M * (1.0 + z) ** 3 + 1.0 - OMEGA_M)
    steps = np.diff(z) * 0.5 * (inverse[1:] + inverse[:-1])
    return np.asarray(_LIGHT_KM_S / HUBBLE_KM_S_MPC * np.cumsum(steps))


_COMOVING_MPC: Final = _comoving_mpc()
_MODULUS: Final = 5.0 * np.log10(_COMOVING_MPC * (1.0 + _GRID)) + 25.0


def distance_modulus(z: _FloatArray) -> _FloatArray:
    """Return 5 log10(luminosity distance / 10 pc), [n], for 0.002 <= z <= 4."""
    return np.interp(z, _GRID, _MODULUS)


def survey_depth(
    rng: np.random.Generator, n: int, survey: str, fainter: float = 0.0
) -> _FloatArray:
    """Draw the peak magnitude that n sources must reach; `ConfigurationError` if unknown.

    ``fainter``: magnitudes by which the bright end is fainter than that of most classes.
    """
    bright, faint = _of_survey(_DEPTH, survey)
    return rng.uniform(bright + fainter, faint, n)


def detection_bands(survey: str) -> tuple[int, ...]:
    """Return the rows of `models.lightcurve.BANDS` in which a survey finds transients."""
    return _of_survey(_DETECTION_BANDS, survey)


def _of_survey(table: dict[str, _Entry], survey: str) -> _Entry:
    if survey not in table:
        raise ConfigurationError(
            f"no survey {survey!r} to simulate; known: {', '.join(table)}", survey
        )
    return table[survey]


def star_formation_rate(z: _FloatArray) -> _FloatArray:
    """Return the cosmic star formation rate, relative (Madau & Dickinson 2014, equation 15)."""
    return (1.0 + z) ** 2.7 / (1.0 + ((1.0 + z) / 2.9) ** 5.6)


class Redshifts:
    """Redshifts of events with a rate per comoving volume and source-frame time, z <= z_max."""

    def __init__(self, rate: Callable[[_FloatArray], _FloatArray], z_max: float) -> None:
        self.z_max = z_max
        element = _COMOVING_MPC**2 * np.gradient(_COMOVING_MPC, _GRID)
        density = element * rate(_GRID) / (1.0 + _GRID)
        steps = np.diff(_GRID) * 0.5 * (density[1:] + density[:-1])
        first = density[0] * _Z_MIN / 3.0  # all that is nearer than the grid
        self._count = np.concatenate([[first], first + np.cumsum(steps)])

    def limit(self, magnitude: _FloatArray, depth: _FloatArray) -> _FloatArray:
        """Return out to which z a peak absolute magnitude reaches the depth (no K-correction)."""
        return np.asarray(np.minimum(np.interp(depth - magnitude, _MODULUS, _GRID), self.z_max))

    def count(self, z: _FloatArray) -> _FloatArray:
        """Return the relative number of events nearer than z."""
        return np.asarray(np.interp(z, _GRID, self._count))

    def draw(self, rng: np.random.Generator, limit: _FloatArray) -> _FloatArray:
        """Draw one redshift below each limit, [n]."""
        return np.interp(rng.random(len(limit)) * self.count(limit), self._count, _GRID)

    def choose(
        self, rng: np.random.Generator, magnitude: _FloatArray, depth: _FloatArray
    ) -> npt.NDArray[np.int64]:
        """Choose one of K candidates of each source by the volume in which it is detected, [n].

        ``magnitude`` [n, K] are peak absolute magnitudes, ``depth`` [n]. Luminous sources are
        seen farther (Malmquist 1922) and so are a larger part of a sample than of a volume.
        """
        total = np.cumsum(self.count(self.limit(magnitude, depth[:, None])), axis=1)
        pick = rng.random(len(total)) * total[:, -1]
        return np.asarray(np.minimum((total < pick[:, None]).sum(axis=1), magnitude.shape[1] - 1))


def place(
    rng: np.random.Generator,
    redshifts: Redshifts,
    magnitude: _FloatArray,
    depth: _FloatArray,
    peak_magnitude: Callable[[_FloatArray], _FloatArray],
    rounds: int = 3,
) -> _FloatArray:
    """Draw redshifts at which sources of the given peak absolute magnitude are detected, [n].

    ``peak_magnitude`` maps redshifts [n] to observed peak magnitudes. Sources that miss their
    depth there, because of K-correction and dust, are drawn again within a smaller limit.
    """
    z = redshifts.draw(rng, redshifts.limit(magnitude, depth))
    for _ in range(rounds):
        missing = peak_magnitude(z) - depth
        faint = missing > 0
        if not faint.any():
            break
        limit = np.interp(distance_modulus(z) - np.clip(missing, 0.2, 10.0), _MODULUS, _GRID)
        z = np.where(faint, redshifts.draw(rng, limit), z)
    return z
