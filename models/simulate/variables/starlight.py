"""Colours of stars and the step from LSST's six bands to all others.

Spectra are held as six values per source, at the effective wavelengths of LSST u, g, r, i,
z, y; those of any other band are interpolated in wavelength.

Notation: n sources, m evaluations.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import BANDS

__all__ = [
    "WAVELENGTHS_AA",
    "apparent_magnitudes",
    "at_band",
    "black_body_magnitudes",
    "interpolated",
    "star_colours",
]

WAVELENGTHS_AA: Final = np.array([band.wavelength_aa for band in BANDS[:6]])
"""Effective wavelengths of LSST u, g, r, i, z, y in Angstrom, [6]."""

_C2_AA_K: Final = 1.438777e8  # hc/k in Angstrom Kelvin
_PIVOT: Final = 2  # r, to which all colours refer

_LOCUS: Final = np.array(
    [  # temperature, u-g, g-r, r-i, i-z, z-y
        [2800, 2.70, 1.55, 2.10, 1.15, 0.60],
        [3000, 2.65, 1.50, 1.75, 0.97, 0.50],
        [3200, 2.60, 1.45, 1.45, 0.80, 0.40],
        [3500, 2.55, 1.43, 1.00, 0.55, 0.26],
        [3800, 2.55, 1.37, 0.67, 0.38, 0.18],
        [4000, 2.50, 1.25, 0.52, 0.29, 0.12],
        [4600, 2.20, 0.90, 0.32, 0.17, 0.06],
        [5200, 1.75, 0.62, 0.20, 0.09, 0.03],
        [5900, 1.35, 0.42, 0.11, 0.03, 0.01],
        [6500, 1.05, 0.27, 0.06, 0.00, 0.00],
        [7500, 1.10, 0.08, -0.03, -0.06, -0.02],
        [10000, 1.00, -0.22, -0.18, -0.12, -0.07],
        [15000, 0.40, -0.37, -0.28, -0.20, -0.12],
        [30000, -0.35, -0.50, -0.38, -0.29, -0.19],
    ]
)


def _interpolation() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return lower and upper neighbour and weight of the upper for each row of `BANDS`."""
    wavelength = np.array([band.wavelength_aa for band in BANDS])
    upper = np.clip(np.searchsorted(WAVELENGTHS_AA, wavelength), 1, len(WAVELENGTHS_AA) - 1)
    step = WAVELENGTHS_AA[upper] - WAVELENGTHS_AA[upper - 1]
    return upper - 1, upper, np.clip((wavelength - WAVELENGTHS_AA[upper - 1]) / step, 0, 1)


_LOWER, _UPPER, _WEIGHT = _interpolation()


def star_colours(temperature: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return magnitudes of dwarfs relative to r for effective temperatures in K, [n, 6].

    The locus of Covey et al. 2007 (AJ 134, 2398), of West et al. 2011 (AJ 141, 97) for M
    dwarfs, rounded to about .05 mag, and model atmospheres above 10000 K; all AB.
    """
    steps = [np.interp(temperature, _LOCUS[:, 0], column) for column in _LOCUS[:, 1:].T]
    fainter = -np.cumsum(np.stack([np.zeros(len(temperature)), *steps], axis=1), axis=1)
    return np.asarray(fainter - fainter[:, _PIVOT : _PIVOT + 1])


def black_body_magnitudes(temperature: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return AB magnitudes relative to r of black bodies of temperatures in K, [n, 6]."""
    x = _C2_AA_K / (WAVELENGTHS_AA * temperature[:, None])
    magnitude = 2.5 * np.log10(WAVELENGTHS_AA**3 * np.expm1(x))
    return np.asarray(magnitude - magnitude[:, _PIVOT : _PIVOT + 1])


def at_band(
    values: npt.NDArray[np.floating], source: npt.NDArray[np.int64], band: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    """Return the value [n, 6] of a source in a row of `BANDS`, [m]."""
    low, weight = values[source, _LOWER[band]], _WEIGHT[band]
    return np.asarray(low + weight * (values[source, _UPPER[band]] - low))


def interpolated(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return values [n, 6] in all bands, [n, rows of BANDS]."""
    return np.asarray(values[:, _LOWER] * (1 - _WEIGHT) + values[:, _UPPER] * _WEIGHT)


def apparent_magnitudes(
    rng: np.random.Generator, n: int, bright: float, faint: float, slope: float
) -> npt.NDArray[np.float64]:
    """Draw magnitudes between two limits from counts that grow as 10^(slope m), [n]."""
    if abs(slope) < 1e-6:
        return rng.uniform(bright, faint, n)
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.asarray(np.log10(rng.uniform(low, high, n)) / slope)
