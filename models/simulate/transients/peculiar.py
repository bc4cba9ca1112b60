"""Subluminous thermonuclear supernovae: types Ia-91bg and Iax.

Notation: n sources, K candidates, R series, W wavelengths.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.simulate.transients.dust import reddening
from models.simulate.transients.photometry import (
    LN_STEP,
    REST_WAVELENGTH,
    Photometry,
    blue_magnitude_scale,
)
from models.simulate.transients.population import CANDIDATES, Series, SpectralPopulation, Traits
from models.simulate.transients.spectra import first_light, on_grid
from models.simulate.transients.spectral import PHASES
from models.simulate.transients.volume import Redshifts, star_formation_rate

__all__ = ["fast_ia", "iax", "iax_spectra"]

_FloatArray = npt.NDArray[np.float64]

_N_Z: Final = 36  # z <= 1.01

# SN 1991bg-like: decline rates of the sequence and the magnitudes along it.
_BG_DECLINE: Final = (1.7, 1.9)
_BG_MAGNITUDE: Final = (-17.5, -16.8)
_BG_SCATTER: Final = 0.3
_BG_REDDENING: Final = 0.03
_BG_STRETCH_SCATTER: Final = 0.06

# Type Iax at the wavelengths of u, B, V, r, i, z: SN 2005hk in AB magnitudes below the B peak.
_IAX_WAVELENGTH: Final = (2500.0, 3600.0, 4400.0, 5500.0, 6200.0, 7600.0, 9000.0)
_IAX_PEAK_MAG: Final = (2.9, 0.5, 0.0, -0.1, 0.0, 0.2, 0.35)
_IAX_PEAK_DAY: Final = (-4.0, -2.0, 0.0, 3.5, 5.0, 6.5, 7.0)
_IAX_DM15: Final = (2.6, 2.2, 1.6, 0.85, 0.68, 0.56, 0.6)
_IAX_DM30: Final = (3.8, 3.3, 2.5, 1.65, 1.45, 1.25, 1.3)
_IAX_TAIL_MAG_DAY: Final = 0.018
# Along the sequence from SN 2005hk (0) to SN 2008ha (1).
_IAX_SEQUENCE: Final = (0.0, 0.08, 0.16, 0.25, 0.4, 0.65)
_IAX_MAGNITUDE: Final = (-18.1, -13.9)
_IAX_RISE_DAYS: Final = (16.0, 9.0)
_IAX_FASTER: Final = 0.35
_IAX_REDDER_MAG: Final = 0.5
_IAX_SCATTER: Final = 0.4
_IAX_REDDENING: Final = 0.08
_IAX_SLOWER_KM_S: Final = 5000.0
_IAX_CONTRAST: Final = 0.7
_LIGHT_KM_S: Final = 299792.458
_CONTINUUM_WIDTH: Final = 0.08


def fast_ia(inputs: Path, photometry: Photometry) -> SpectralPopulation:
    """Return the population SNIa-91bg.

    Spectra of the 91bg sequence of SNooPy (Burns et al. 2011, AJ 141, 19), along the decline
    rate; M_B from -17.5 to -16.8 along it (Taubenberger 2017, Handbook of Supernovae, figure 1;
    Gonzalez-Gaitan et al. 2014, ApJ 795, 142). Old hosts: little dust and a constant rate.
    """
    path = inputs / "sed" / "snia_91bg_sequence.npz"
    with np.load(path) as arrays:
        if "third_axis" not in arrays:
            raise DataError(f"{path} lacks third_axis", path)
        decline = arrays["third_axis"].astype(float)
    return SpectralPopulation(
        name="SNIa-91bg",
        groups=("SNIa-91bg",),
        weights=np.ones(1),
        load=partial(_fast_series, path, photometry),
        traits=partial(_fast_traits, np.interp(decline, _BG_DECLINE, _BG_MAGNITUDE)),
        redshifts=Redshifts(np.ones_like, z_max=0.7),
        last_phase=110.0,
    )


def iax(inputs: Path, photometry: Photometry) -> SpectralPopulation:
    """Return the population SNIax.

    `iax_spectra` from SN 2005hk to SN 2008ha, with M_B from -18.1 to -13.9: fainter ones rise and
    fade faster and are redder (Foley et al. 2013, ApJ 767, 57; McCully et al. 2014, ApJ 786,
    134; Magee et al. 2016, A&A 589, A89). Six steps, denser where they are luminous, as in
    samples. Young hosts: the rate follows star formation.
    """
    steps = np.array(_IAX_SEQUENCE)
    mean = _IAX_MAGNITUDE[0] + steps * (_IAX_MAGNITUDE[1] - _IAX_MAGNITUDE[0])
    return SpectralPopulation(
        name="SNIax",
        groups=("SNIax",),
        weights=np.ones(1),
        load=partial(_iax_series, inputs / "sed" / "hsiao_v3.npz", photometry),
        traits=partial(_iax_traits, mean),
        redshifts=Redshifts(star_formation_rate, z_max=0.8),
        last_phase=130.0,
    )


def iax_spectra(normal: _FloatArray, step: float) -> _FloatArray:
    """Return spectra [phases, W] of a type Iax at ``step`` of the sequence (0 to 1).

    The broad-band light curves are those of SN 2005hk (Phillips et al. 2007, PASP 119, 360;
    Stritzinger et al. 2015, A&A 573, A2): decline rates, delays of the peaks in red bands,
    no second maximum, slow tail. Spectral lines are those of a normal SN Ia ([phases, W]),
    weaker and at 5000 km/s less.
    """
    magnitude = _iax_magnitudes(step)
    lines = _line_contrast(normal) ** _IAX_CONTRAST
    slower = REST_WAVELENGTH / (1.0 + _IAX_SLOWER_KM_S / _LIGHT_KM_S)
    moved = np.stack([np.interp(slower, REST_WAVELENGTH, row) for row in lines])
    return np.asarray(10.0 ** (-0.4 * magnitude) * moved / REST_WAVELENGTH**2)


def _iax_magnitudes(step: float) -> _FloatArray:
    """Return AB magnitudes [phases, W] below the B peak, without spectral lines."""
    faster = 1.0 + _IAX_FASTER * step
    peak, day, dm15, dm30 = (
        np.interp(REST_WAVELENGTH, _IAX_WAVELENGTH, values)
        for values in (_IAX_PEAK_MAG, _IAX_PEAK_DAY, _IAX_DM15, _IAX_DM30)
    )
    rise = _IAX_RISE_DAYS[0] + step * (_IAX_RISE_DAYS[1] - _IAX_RISE_DAYS[0]) + day
    since = PHASES[:, None] - day
    redder = _IAX_REDDER_MAG * step * np.log(4400.0 / REST_WAVELENGTH)
    light = np.where(since < 0, _rising(since, rise), _falling(since, faster * dm15, faster * dm30))
    return np.asarray(peak + redder - 2.5 * np.log10(np.maximum(light, 1e-12)))


def _rising(since: _FloatArray, rise: _FloatArray) -> _FloatArray:
    """Return flux before the peak: like time squared at first, level at the peak."""
    return np.asarray(np.sin(0.5 * np.pi * np.clip(1.0 + since / rise, 0.0, 1.0)) ** 2)


def _falling(since: _FloatArray, dm15: _FloatArray, dm30: _FloatArray) -> _FloatArray:
    """Return flux after the peak: a Gaussian that turns into a tail, by the two decline rates."""
    since = np.maximum(since, 0.0)
    tail = 10.0 ** (-0.4 * (dm30 + _IAX_TAIL_MAG_DAY * (since - 30.0)))
    tail15 = 10.0 ** (-0.4 * (dm30 - _IAX_TAIL_MAG_DAY * 15.0))
    core15 = (10.0 ** (-0.4 * dm15) - tail15) / (1.0 - tail15)
    core = core15 ** ((since / 15.0) ** 2)
    return np.asarray(core + (1.0 - core) * tail)


def _line_contrast(spectra: _FloatArray) -> _FloatArray:
    """Return spectra divided by themselves smoothed over 8 % in wavelength, 1 without flux."""
    reach = int(4.0 * _CONTINUUM_WIDTH / LN_STEP)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * LN_STEP / _CONTINUUM_WIDTH) ** 2)
    kernel /= kernel.sum()
    positive = np.maximum(spectra, 0.0)
    padded = np.pad(positive, ((0, 0), (reach, reach)), mode="edge")
    smooth = np.stack([np.convolve(row, kernel, mode="valid") for row in padded])
    floor = 1e-9 * positive.max()
    return np.where(smooth > floor, (positive + floor) / (smooth + floor), 1.0)


def _fast_series(path: Path, photometry: Photometry) -> Series:
    """Tabulate the 91bg sequence."""
    with np.load(path) as arrays:
        phase, wavelength = (arrays[k].astype(float) for k in ("phase", "wavelength"))
        flux = np.maximum(arrays["flux"].astype(float), 0.0)
    return _tabulated([on_grid(phase, wavelength, row[None])[0] for row in flux], photometry)


def _iax_series(path: Path, photometry: Photometry) -> Series:
    """Tabulate the Iax sequence on the lines of a normal SN Ia."""
    with np.load(path) as arrays:
        phase, wavelength, flux = (arrays[k].astype(float) for k in ("phase", "wavelength", "flux"))
    normal = on_grid(phase, wavelength, flux[None])[0]
    return _tabulated([iax_spectra(normal, step) for step in _IAX_SEQUENCE], photometry)


def _tabulated(series: list[_FloatArray], photometry: Photometry) -> Series:
    """Normalise series [phases, W] to B = 0 at peak and tabulate them, all of one group."""
    law = reddening(REST_WAVELENGTH)
    scaled = [spectra / blue_magnitude_scale(spectra).max() for spectra in series]
    return Series(
        np.stack([photometry.table([spectra], law, _N_Z) for spectra in scaled]),
        np.zeros(len(scaled), np.int64),
        np.array([first_light(spectra) for spectra in scaled]),
    )


def _fast_traits(
    mean: _FloatArray, rng: np.random.Generator, series: npt.NDArray[np.int64]
) -> Traits:
    """Draw candidates of SNe 91bg, [n, K]."""
    shape = (len(series), CANDIDATES)
    return Traits(
        mean[series][:, None] + rng.normal(0.0, _BG_SCATTER, shape),
        rng.exponential(_BG_REDDENING, shape),
        np.zeros(shape),
        np.exp(rng.normal(0.0, _BG_STRETCH_SCATTER, shape)),
    )


def _iax_traits(
    mean: _FloatArray, rng: np.random.Generator, series: npt.NDArray[np.int64]
) -> Traits:
    """Draw candidates of SNe Iax, [n, K]."""
    shape = (len(series), CANDIDATES)
    return Traits(
        mean[series][:, None] + rng.normal(0.0, _IAX_SCATTER, shape),
        np.minimum(rng.exponential(_IAX_REDDENING, shape), 0.6),
        np.zeros(shape),
        np.exp(rng.normal(0.0, 0.1, shape)),
    )
