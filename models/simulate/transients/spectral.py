"""Sources made from tables of synthetic photometry.

Notation: n sources, m evaluations, R series, Z redshifts, B bands, P phases.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernel)

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.simulate.transients.photometry import LN_Z_STEP, TABLE_BANDS
from models.simulate.transients.volume import detection_bands, distance_modulus

__all__ = ["PHASES", "SpectralSources", "check_bands", "peak_magnitude"]

_FloatArray = npt.NDArray[np.float64]

PHASES: Final = np.arange(-50.0, 221.0)
"""[P] rest-frame days of the tables."""
_WIDEST_LAW: Final = 3.0
_LARGEST_EXPONENT: Final = 3.0
"""Bounds of colour law and its effect within a band, which only broken spectra exceed."""
_SEARCHED_DAYS: Final = np.array([-12.0, -7.0, -3.0, 0.0, 3.0, 7.0, 14.0, 25.0, 45.0])


@dataclass(frozen=True, slots=True)
class SpectralSources:
    """n sources, each one series of a table with parameters of its own."""

    table: npt.NDArray[np.float32]
    """[R, Z, B, P, 3 or 6] see `Photometry.table`."""
    series: npt.NDArray[np.int64]
    """[n] row of the table."""
    z: _FloatArray
    """[n]"""
    magnitude: _FloatArray
    """[n] scale of the flux: -2.5 log10 of the factor on the table at 10 pc."""
    shape: _FloatArray
    """[n] factor of the second component (x1 of SALT)."""
    colour: _FloatArray
    """[n] factor of the colour law: c of SALT, or E(B-V)."""
    stretch: _FloatArray
    """[n] factor on rest-frame time."""
    offset: _FloatArray
    """[n, B] magnitudes by which a source deviates from its series in each band."""

    def flux(
        self,
        source: npt.NDArray[np.int64],
        days: _FloatArray,
        band: npt.NDArray[np.uint8],
    ) -> _FloatArray:
        """Return nJy, [m]: `models.simulate.source.FluxModel`."""
        check_bands(band)
        return np.asarray(
            _spectral_flux(
                self.table,
                self.series,
                np.log1p(self.z) / LN_Z_STEP,
                1.0 / ((1.0 + self.z) * self.stretch),
                10.0 ** (-0.4 * (self.magnitude + distance_modulus(self.z))),
                self.shape,
                0.4 * np.log(10.0) * self.colour,
                10.0 ** (-0.4 * self.offset),
                PHASES[0],
                source,
                days,
                band,
            )
        )

    def peak(self, survey: str) -> _FloatArray:
        """Return the peak magnitude in the bands in which a survey finds transients, [n]."""
        days = _SEARCHED_DAYS[None, :] * ((1.0 + self.z) * self.stretch)[:, None]
        return peak_magnitude(self.flux, days, survey)


def peak_magnitude(flux, days: _FloatArray, survey: str) -> _FloatArray:  # type: ignore[no-untyped-def]
    """Return the brightest AB magnitude of sources at ``days`` [n, T] in a survey's bands, [n]."""
    bands = detection_bands(survey)
    n, times = days.shape
    source = np.repeat(np.arange(n), times * len(bands))
    band = np.tile(np.array(bands, np.uint8), n * times)
    values = flux(source, np.repeat(days.ravel(), len(bands)), band)
    brightest = values.reshape(n, times * len(bands)).max(axis=1)
    return np.asarray(31.4 - 2.5 * np.log10(np.maximum(brightest, 1e-30)))


def check_bands(band: npt.NDArray[np.uint8]) -> None:
    """Raise `IndexError` for a band without a table: the kernels check no index."""
    if len(band) and band.max() >= TABLE_BANDS:
        raise IndexError(f"band {band.max()}: simulated are rows 0 to {TABLE_BANDS - 1} of BANDS")


@compiled
def _spectral_flux(  # type: ignore[no-untyped-def]
    table,
    series,
    z_at,
    per_day,
    scale,
    shape,
    colour,
    gain,
    first_phase,
    source,
    days,
    band,
):
    """Interpolate the table in redshift and phase and apply colour; one value per evaluation.

    The mean over a band of exp(-colour * law) is expanded in cumulants of the law to second
    order: exp(-colour * mean + colour^2 * variance / 2).
    """
    n_z, n_phases, n_columns = table.shape[1], table.shape[3], table.shape[4]
    moments = np.empty(3)
    out = np.zeros(len(source))
    for j in range(len(source)):
        s = source[j]
        b = band[j]
        at = days[j] * per_day[s] - first_phase
        if at < 0.0 or at >= n_phases - 1:
            continue
        k = min(int(z_at[s]), n_z - 2)
        p = int(at)
        u, v = z_at[s] - k, at - p
        near = table[series[s], k, b]
        far = table[series[s], k + 1, b]
        moments[:] = 0.0
        for c in range(n_columns):
            value = (1 - u) * ((1 - v) * near[p, c] + v * near[p + 1, c])
            value += u * ((1 - v) * far[p, c] + v * far[p + 1, c])
            moments[c % 3] += value if c < 3 else shape[s] * value
        flux = moments[0]
        if flux <= 0.0:
            continue
        mean = moments[1] / flux
        # Where parts of a SALT spectrum are negative, its moments are not those of a distribution.
        variance = min(max(moments[2] / flux - mean**2, 0.0), _WIDEST_LAW**2)
        exponent = -colour[s] * mean + 0.5 * colour[s] ** 2 * variance
        out[j] = flux * scale[s] * gain[s, b] * np.exp(min(exponent, _LARGEST_EXPONENT))
    return out
