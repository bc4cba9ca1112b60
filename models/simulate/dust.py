"""Extinction by dust of the Milky Way.

Notation: n sources.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import BANDS

__all__ = ["COEFFICIENTS", "draw_reddening"]

_R_OF_BAND: Final = {
    "lsst:u": 4.145,
    "lsst:g": 3.237,
    "lsst:r": 2.273,
    "lsst:i": 1.684,
    "lsst:z": 1.323,
    "lsst:y": 1.088,
    "ztf:g": 3.172,
    "ztf:r": 2.271,
    "ztf:i": 1.682,
}
COEFFICIENTS: Final[npt.NDArray[np.float64]] = np.array(
    [_R_OF_BAND.get(band.key, np.nan) for band in BANDS]
)
"""Extinction in magnitudes per E(B-V), by row of `BANDS`, NaN for bands not simulated.

Schlafly & Finkbeiner 2011 (ApJ 737, 103), table 6, R_V = 3.1; the paper has no ZTF bands:
they take the values of Pan-STARRS1, to which ZTF is calibrated.
"""

_POLE_EBV: Final = 0.018  # the dust layer seen from its middle, times 1/sin|b|
_SCATTER: Final = 0.55  # natural logarithm
_DISC_LATITUDE_DEG: Final = 18.0
_LOWEST_LATITUDE_DEG: Final = 3.0
_NEAREST_FRACTION: Final = 0.25


def draw_reddening(
    rng: np.random.Generator, latitude: npt.NDArray[np.float64], galactic: bool
) -> npt.NDArray[np.float64]:
    """Draw E(B-V) in magnitudes for positions at galactic latitudes in degrees, [n].

    A plane-parallel layer with log-normal scatter; its scale gives the median 0.03 and
    the 95 % quantile 0.2 to 0.3 of the fields of PLAsTiCC (arXiv 1810.00001). Sources in
    the Milky Way lie behind part of the layer; as the cadence tables end at |b| = 12 or
    20 degrees, their latitudes are drawn anew from an exponential of scale 18 degrees.
    """
    n = len(latitude)
    scatter = np.exp(_SCATTER * rng.standard_normal(n))
    if galactic:
        latitude = np.minimum(latitude, rng.exponential(_DISC_LATITUDE_DEG, n))
        scatter *= rng.uniform(_NEAREST_FRACTION, 1.0, n)
    sine = np.sin(np.radians(np.maximum(latitude, _LOWEST_LATITUDE_DEG)))
    return np.asarray(_POLE_EBV / sine * scatter)
