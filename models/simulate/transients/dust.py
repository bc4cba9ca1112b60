"""Extinction by dust as a function of wavelength."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["R_V", "reddening"]

R_V: Final = 3.1
"""Ratio of total to selective extinction of the diffuse Milky Way."""

# Coefficients of powers 0, 1, ... of (x - 1.82): O'Donnell 1994, equations for 1.1 to 3.3 / um.
_OPTICAL_A: Final = (1.0, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505)
_OPTICAL_B: Final = (0.0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347)
# Powers of (x - 8): CCM89, equation 5.
_FAR_A: Final = (-1.073, -0.628, 0.137, -0.070)
_FAR_B: Final = (13.670, 4.257, -0.420, 0.374)

_FloatArray = npt.NDArray[np.float64]


def reddening(wavelength: _FloatArray) -> _FloatArray:
    """Return A(wavelength) / E(B-V) in magnitudes for R_V = 3.1; wavelength in Angstrom, [w].

    Cardelli, Clayton & Mathis 1989 (ApJ 345, 245) with the optical coefficients of
    O'Donnell 1994 (ApJ 422, 158), valid from 1000 to 33000 Angstrom.
    """
    x = 1e4 / wavelength
    conditions = [x < 1.1, x < 3.3, x < 8.0]
    a = np.select(conditions, [0.574 * x**1.61, _optical(x, _OPTICAL_A), _uv_a(x)], _far(x, _FAR_A))
    b = np.select(
        conditions, [-0.527 * x**1.61, _optical(x, _OPTICAL_B), _uv_b(x)], _far(x, _FAR_B)
    )
    return R_V * a + b


def _optical(x: _FloatArray, coefficients: tuple[float, ...]) -> _FloatArray:
    return np.asarray(np.polynomial.polynomial.polyval(x - 1.82, coefficients))


def _far(x: _FloatArray, coefficients: tuple[float, ...]) -> _FloatArray:
    return np.asarray(np.polynomial.polynomial.polyval(x - 8.0, coefficients))


def _uv_a(x: _FloatArray) -> _FloatArray:
    """Return CCM89 equation 4a, 3.3 to 8 per micrometre."""
    y = np.maximum(x - 5.9, 0.0)
    bump = 0.104 / ((x - 4.67) ** 2 + 0.341)
    return 1.752 - 0.316 * x - bump - 0.04473 * y**2 - 0.009779 * y**3


def _uv_b(x: _FloatArray) -> _FloatArray:
    """Return CCM89 equation 4b, 3.3 to 8 per micrometre."""
    y = np.maximum(x - 5.9, 0.0)
    bump = 1.206 / ((x - 4.62) ** 2 + 0.263)
    return -3.090 + 1.825 * x + bump + 0.2130 * y**2 + 0.1207 * y**3
