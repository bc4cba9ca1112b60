"""Errors of difference-image photometry.

Notation: m observations; all fluxes in nJy.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import AB_ZERO_POINT_NJY

__all__ = ["flux_of_magnitude", "lsst_error", "ztf_error"]

_POGSON: Final = 2.5 / np.log(10)  # magnitudes per relative error

_ZTF_PHOTONS: Final = 0.02
_ZTF_MISMATCH: Final = 0.045
_ZTF_FLOOR: Final = 0.024
_ZTF_RESIDUAL: Final = 0.003

_LSST_GAMMA: Final = 0.039
_LSST_SYSTEMATIC: Final = 0.005
_LSST_FLOOR: Final = 0.008


def flux_of_magnitude(magnitude: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the flux in nJy of AB magnitudes."""
    return np.asarray(10 ** (0.4 * (AB_ZERO_POINT_NJY - magnitude.astype(np.float64))))


def ztf_error(
    depth: npt.NDArray[np.float64],
    total: npt.NDArray[np.float64],
    difference: npt.NDArray[np.float64],
    scatter: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the error that ZTF's difference photometry reports, [m].

    ``depth``: flux of the 5-sigma limit; ``total`` and ``difference`` flux; ``scatter``:
    factor around 1 by which the quality of subtractions differs between objects and
    nights. sigma^2 = s^2 + .02 s F + .045 s D + (.024 scatter D)^2 + (.003 F)^2 with
    s = depth / 5, total flux F and absolute difference flux D: sky, photons of the source
    (30 s of ZTF's zero point), and imperfect subtraction. The numbers follow the
    median errors of real transients by magnitude, .037 mag at 16.5, .054 at 17.5, .086 at 18.5
    and .139 at 19.5, whose floor of .03 mag is far above that of Masci et al. 2019 (PASP 131,
    018003).
    """
    sky = depth / 5.0
    photons = sky * (_ZTF_PHOTONS * np.maximum(total, 0.0) + _ZTF_MISMATCH * np.abs(difference))
    floor = (_ZTF_FLOOR * scatter * difference) ** 2 + (_ZTF_RESIDUAL * total) ** 2
    return np.asarray(np.sqrt(sky**2 + photons + floor))


def lsst_error(
    depth: npt.NDArray[np.float64],
    total: npt.NDArray[np.float64],
    difference: npt.NDArray[np.float64],
    scatter: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the error of a visit of LSST, [m]; arguments as of `ztf_error`.

    LSE-40 and Ivezic et al. 2019 (ApJ 873, 111), equations 4 and 5, in flux: with
    x = 10^(.4 (m - m5)), sigma^2 = (.04 - gamma) x + gamma x^2 + .005^2 mag^2, which has a
    limit for faint sources; plus .008 scatter of the difference flux for imperfect
    subtraction (an assumption).
    """
    sky = _LSST_GAMMA * depth**2
    photons = (0.04 - _LSST_GAMMA) * depth * np.maximum(total, 0.0)
    systematic = (_LSST_SYSTEMATIC * total) ** 2 + (_LSST_FLOOR * scatter * difference) ** 2
    return np.asarray(np.sqrt((sky + photons + systematic) / _POGSON**2))
