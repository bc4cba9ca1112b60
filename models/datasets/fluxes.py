"""Fluxes of public data sets in the units of `models.lightcurve`: nJy of the difference image.

Notation: m observations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import AB_ZERO_POINT_NJY, DETECTION, DETECTION_SNR, FORCED, LightCurves

__all__ = [
    "FLUXCAL_ZERO_POINT",
    "NJY_PER_FLUXCAL",
    "difference_fluxes",
    "njy",
    "rank_by_significance",
    "with_redshift",
]

FLUXCAL_ZERO_POINT: Final = 27.5
"""AB magnitude of one unit of FLUXCAL, the flux of SNANA (Kessler et al. 2009)."""

NJY_PER_FLUXCAL: Final = 10 ** ((AB_ZERO_POINT_NJY - FLUXCAL_ZERO_POINT) / 2.5)  # 36.308

_REFERENCE_EPOCHS: Final = 15
"""Exposures that a reference image is made of: ZTF asks for so many (Masci et al. 2019)."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


def njy(mag: Floats, mag_err: Floats) -> tuple[Floats, Floats]:
    """Return flux and flux error, nJy, of AB magnitudes [m] and their errors [m]."""
    flux = 10 ** ((AB_ZERO_POINT_NJY - mag) / 2.5)
    return flux, flux * mag_err * np.log(10.0) / 2.5


def rank_by_significance(flux: Floats, flux_err: Floats) -> npt.NDArray[np.uint8]:
    """Return `DETECTION` where a flux of either sign has S/N >= 5, `FORCED` elsewhere, [m]."""
    found = np.abs(flux) >= DETECTION_SNR * flux_err
    return np.where(found, DETECTION, FORCED).astype(np.uint8)


def with_redshift(curves: LightCurves, redshift: Floats, redshift_err: Floats) -> LightCurves:
    """Return the curves with redshifts [n] and their errors [n], NaN where unknown."""
    return replace(
        curves,
        redshift=redshift.astype(np.float32),
        redshift_err=redshift_err.astype(np.float32),
    )


def difference_fluxes(
    star: Numbers, band: npt.NDArray[np.uint8], mjd: Floats, flux: Floats, seed: int
) -> Floats:
    """Return total fluxes [m] less a reference flux per star and band, sign kept, [m].

    A survey subtracts an image made of some early exposures. So the reference is
    the mean of exposures drawn at random from the earlier half of those of the star in
    the band: half of them, but at most 15 and at least one. Its own noise is shared by
    the whole curve and not added to the errors.
    """
    rng = np.random.default_rng([seed, 17])
    series = np.unique(star * 256 + band, return_inverse=True)[1]
    count = np.bincount(series)
    age = _place(series, mjd)
    # Later exposures come last in the draw: they are drawn only when nothing else is there.
    draw = _place(series, rng.random(len(series)) + (age >= (count // 2)[series]))
    size = np.clip(count // 4, 1, _REFERENCE_EPOCHS)
    chosen = draw < size[series]
    reference = np.bincount(series[chosen], flux[chosen], len(count)) / size
    return np.asarray(flux - reference[series])


def _place(series: Numbers, key: Floats) -> Numbers:
    """Return how many of the same series have a smaller key, [m]."""
    order = np.lexsort((key, series))
    start = np.cumsum(np.bincount(series)) - np.bincount(series)
    place = np.empty(len(series), np.int64)
    place[order] = np.arange(len(series)) - start[series[order]]
    return place
