"""Synthetic photometry of redshifted spectra, as tables.

Notation: R spectral series, P phases, W wavelengths, Z redshifts, B bands.

On a grid that is regular in ln(wavelength), a redshift by a whole number of steps is a
shift of the bandpass. The tables therefore hold exact band averages at redshifts that
are regular in ln(1 + z); `SpectralTable` interpolates between them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.lightcurve import BANDS

__all__ = [
    "AB_NJY",
    "LN_STEP",
    "LN_Z_STEP",
    "REST_WAVELENGTH",
    "TABLE_BANDS",
    "Photometry",
    "blue_magnitude_scale",
]

_FloatArray = npt.NDArray[np.float64]

AB_NJY: Final = 3.631e12
"""Flux density of AB magnitude 0."""
_LIGHT_AA_S: Final = 2.99792458e18
_CGS_TO_NJY: Final = 1e32

LN_STEP: Final = 0.0025
"""Step of the logarithm of the rest-frame wavelengths."""
_STEPS_PER_Z: Final = 8
LN_Z_STEP: Final = LN_STEP * _STEPS_PER_Z
"""Step of ln(1 + z) between the redshifts of a table."""

REST_WAVELENGTH: Final = 1000.0 * np.exp(LN_STEP * np.arange(966))
"""[W] Angstrom, 1000 to 11160: the grid that all spectra are brought to."""

TABLE_BANDS: Final = 9
"""The first rows of `models.lightcurve.BANDS`, LSST ugrizy and ZTF gri, are in the tables."""

# Bessell 1990 (PASP 102, 1181), table 2: Johnson B, 3600 to 5600 Angstrom in steps of 100.
_BESSELL_B: Final = (
    *(0.0, 0.03, 0.134, 0.567, 0.92, 0.978, 1.0, 0.978, 0.935, 0.853, 0.74),
    *(0.64, 0.536, 0.424, 0.325, 0.235, 0.15, 0.095, 0.043, 0.009, 0.0),
)
_B_AB_MINUS_VEGA: Final = -0.09
"""Blanton & Roweis 2007 (AJ 133, 734), table 1."""


class Photometry:
    """The bandpasses of ``bandpasses.npz``: ``SURVEY_BAND_wavelength`` and ``_transmission``.

    `DataError` when a band of LSST or ZTF is missing.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            missing = [k for k in _keys() if f"{k}_transmission" not in arrays]
            if missing:
                raise DataError(f"{path} has no bandpass {', '.join(missing)}", missing)
            weights = [
                _band_weights(arrays[f"{k}_wavelength"], arrays[f"{k}_transmission"])
                for k in _keys()
            ]
        self._weights = np.stack(weights)

    def _redshifted(self, n_z: int) -> npt.NDArray[np.float32]:
        """Return what each rest-frame wavelength adds to each redshift and band, [Z * B, W]."""
        bands, width = self._weights.shape
        out = np.zeros((n_z, bands, width))
        for k in range(n_z):
            shift = _STEPS_PER_Z * k
            out[k, :, : width - shift] = self._weights[:, shift:] * np.exp(-LN_Z_STEP * k)
        return out.reshape(n_z * bands, width).astype(np.float32)

    def table(
        self, spectra: list[_FloatArray], law: _FloatArray, n_z: int
    ) -> npt.NDArray[np.float32]:
        """Return band averages of redshifted spectra and of a colour law over them.

        ``spectra`` are one or two components [P, W] of one series (flux = first + shape *
        second), per Angstrom; ``law`` [W] magnitudes. The result [Z, B, P, 3 or 6] holds for each
        component the mean flux density (nJy if the spectra are erg/s/cm2/A; photon-counting,
        factor 1 / (1 + z) included) of the spectrum, of spectrum * law and of spectrum * law^2.
        """
        weights = self._redshifted(n_z)
        scale = float(np.abs(spectra[0]).max()) or 1.0
        moments = []
        for component in spectra:
            for k in range(3):
                weighted = (component / scale * law**k).astype(np.float32)
                moments.append(weights @ weighted.T * np.float32(scale))
        return np.stack(moments, axis=-1).reshape(n_z, TABLE_BANDS, -1, len(moments))


def blue_magnitude_scale(spectra: _FloatArray) -> _FloatArray:
    """Return the flux of spectra [P, W] in rest-frame Johnson B, relative to B = 0 (Vega), [P]."""
    grid = np.arange(3600.0, 5601.0, 100.0)
    weights = _band_weights(grid, np.array(_BESSELL_B))
    zero = AB_NJY * 10.0 ** (-0.4 * _B_AB_MINUS_VEGA)
    return np.asarray(spectra @ weights / zero)


def _keys() -> list[str]:
    return [f"{band.survey}_{band.name}" for band in BANDS[:TABLE_BANDS]]


def _band_weights(wavelength: _FloatArray, transmission: _FloatArray) -> _FloatArray:
    """Return weights [W] whose product with a spectrum is its mean flux density in nJy.

    Mean f_nu = int f_lambda T lambda dlambda / (c int T / lambda dlambda) (Bessell & Murphy
    2012, equation A12). The spectrum is linear between the nodes of the grid.
    """
    fine = np.arange(wavelength[0], wavelength[-1], 1.0)
    passed = np.interp(fine, wavelength, transmission)
    node = np.searchsorted(REST_WAVELENGTH, fine, side="right") - 1
    node = np.minimum(node, len(REST_WAVELENGTH) - 2)
    low, high = REST_WAVELENGTH[node], REST_WAVELENGTH[node + 1]
    right = (fine - low) / (high - low)
    n = len(REST_WAVELENGTH)
    weights = np.bincount(node, passed * fine * (1.0 - right), n)
    weights += np.bincount(node + 1, passed * fine * right, n)
    return np.asarray(weights * _CGS_TO_NJY / (_LIGHT_AA_S * (passed / fine).sum()))
