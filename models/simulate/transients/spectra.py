"""Time series of spectra brought to one grid of phases and wavelengths.

Notation: C components, P phases and W wavelengths of a file; the results are on
`spectral.PHASES` and `photometry.REST_WAVELENGTH`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.transients.photometry import REST_WAVELENGTH
from models.simulate.transients.spectral import PHASES

__all__ = ["first_light", "on_grid", "plateau_end"]

_FloatArray = npt.NDArray[np.float64]

_UV_SCALE_AA: Final = 200.0
"""Scale on which flux falls blueward of a file: line blanketing leaves little there."""
_DECLINE_MAG_DAY: Final = (0.01, 0.05)
"""Limits of the late decline: 56Co decay fully trapped, and the fastest tails."""
_DECLINE_WINDOW_DAYS: Final = 20.0
_RISE_DAYS: Final = (2.0, 8.0)
"""Limits of the time between first light and the first spectrum."""
_PLATEAU_DROP_MAG: Final = 1.8
_PLATEAU_END_DAYS: Final = 95.0
_PLATEAU_WIDTH_DAYS: Final = 5.0


def on_grid(phase: _FloatArray, wavelength: _FloatArray, flux: _FloatArray) -> _FloatArray:
    """Resample components [C, P, W] to [C, phases, wavelengths] of the tables.

    Before the file's first phase the flux grows as the square of time since first light; after
    its last phase it falls exponentially at the rate of the last 20 days, within physical
    limits; blueward of its first wavelength it is tapered. The first component sets the rates.
    """
    sampled = np.stack([_on_wavelengths(wavelength, component) for component in flux])
    total = np.maximum(sampled[0], 0.0).sum(axis=1)
    inside = np.clip(PHASES, phase[0], phase[-1])
    low = np.clip(np.searchsorted(phase, inside, side="right") - 1, 0, len(phase) - 2)
    part = ((inside - phase[low]) / (phase[low + 1] - phase[low]))[:, None]
    out = (1.0 - part) * sampled[:, low] + part * sampled[:, low + 1]
    return np.asarray(out * (_early(phase, total) * _late(phase, total))[:, None])


def first_light(spectra: _FloatArray) -> float:
    """Return the phase at which a series [phases, wavelengths] first has 0.1 % of its peak."""
    total = np.maximum(spectra, 0.0).sum(axis=1)
    return float(PHASES[np.argmax(total > 1e-3 * total.max())])


def plateau_end(last_phase: float) -> _FloatArray:
    """Return the factor [phases] by which a plateau falls that a file does not follow to its end.

    Plateaus of SNe IIP end about 100 days after explosion and fall by 1 to 2.6 mag (Anderson
    et al. 2014, ApJ 786, 67).
    """
    drop = _logistic(PHASES) - _logistic(np.array([last_phase]))
    return np.asarray(10.0 ** (-0.4 * _PLATEAU_DROP_MAG * np.maximum(drop, 0.0)))


def _logistic(phase: _FloatArray) -> _FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-(phase - _PLATEAU_END_DAYS) / _PLATEAU_WIDTH_DAYS)))


def _on_wavelengths(wavelength: _FloatArray, flux: _FloatArray) -> _FloatArray:
    """Interpolate [P, W] linearly to the wavelengths of the tables."""
    inside = np.clip(REST_WAVELENGTH, wavelength[0], wavelength[-1])
    low = np.clip(np.searchsorted(wavelength, inside, side="right") - 1, 0, len(wavelength) - 2)
    part = (inside - wavelength[low]) / (wavelength[low + 1] - wavelength[low])
    taper = np.exp(-np.maximum(wavelength[0] - REST_WAVELENGTH, 0.0) / _UV_SCALE_AA)
    return np.asarray(((1.0 - part) * flux[:, low] + part * flux[:, low + 1]) * taper)


def _early(phase: _FloatArray, total: _FloatArray) -> _FloatArray:
    """Return the factor on the first spectrum before the first phase: an expanding fireball."""
    root = np.sqrt(np.clip(total[0] / total.max(), 0.0, 0.99))
    rise = phase[np.argmax(total)] - phase[0]
    since = float(np.clip(rise * root / (1.0 - root), *_RISE_DAYS))
    return np.asarray(np.clip(1.0 + (PHASES - phase[0]) / since, 0.0, 1.0) ** 2)


def _late(phase: _FloatArray, total: _FloatArray) -> _FloatArray:
    """Return the factor on the last spectrum after the last phase."""
    late = phase > phase[-1] - _DECLINE_WINDOW_DAYS
    magnitude = -2.5 * np.log10(np.maximum(total[late], 1e-12 * total.max()))
    slope = float(np.clip(np.polyfit(phase[late], magnitude, 1)[0], *_DECLINE_MAG_DAY))
    return np.asarray(10.0 ** (-0.4 * slope * np.maximum(PHASES - phase[-1], 0.0)))
