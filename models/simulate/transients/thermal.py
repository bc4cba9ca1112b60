"""Sources that shine as black bodies, and populations of them.

Notation: n sources, m evaluations, C components, K nodes of time, Z redshifts, B bands,
T temperatures.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernel)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.simulate.source import Sources
from models.simulate.transients.dust import reddening
from models.simulate.transients.photometry import (
    LN_Z_STEP,
    REST_WAVELENGTH,
    TABLE_BANDS,
    Photometry,
)
from models.simulate.transients.population import BASELINE_DAYS
from models.simulate.transients.spectral import check_bands, peak_magnitude
from models.simulate.transients.volume import Redshifts, distance_modulus, place, survey_depth

__all__ = [
    "NODES",
    "STEFAN_BOLTZMANN",
    "Curves",
    "ThermalPopulation",
    "ThermalSources",
    "black_bodies",
    "diffused",
    "photosphere",
    "thermal_table",
]

_FloatArray = npt.NDArray[np.float64]
_Curve = npt.NDArray[np.float32]

NODES: Final = np.linspace(0.0, 1.0, 140) ** 2
"""[K] times since first light in units of the class' duration: dense where curves are fast."""
_FEW_NODES: Final = np.linspace(0.0, 1.0, 28) ** 2
"""Enough to tell how bright a candidate gets."""
STEFAN_BOLTZMANN: Final = 5.670374e-5
LUMINOSITY_UNIT: Final = 1e42
"""erg/s"""

_TEMPERATURES: Final = np.geomspace(800.0, 1.2e5, 160)
_LN_T: Final = np.log(_TEMPERATURES)
_LN_T_STEP: Final = float(_LN_T[1] - _LN_T[0])
_HC_K_AA: Final = 1.438777e8
_PARSEC_CM: Final = 3.0856776e18
_DAY_S: Final = 86400.0
_SEARCHED: Final = np.linspace(0.04, 0.85, 16) ** 2
_BAND_SCATTER: Final = 0.03
_NEAR: Final = 0.002


@dataclass(frozen=True, slots=True)
class Curves:
    """Luminosity and temperature at the nodes of time, both [n, C, K]."""

    luminosity: _Curve
    """1e42 erg/s"""
    ln_temperature: _Curve
    """Natural logarithm of K, within the range of the tables."""

    @classmethod
    def of(cls, luminosity: _FloatArray, temperature: _FloatArray) -> Curves:
        """Take luminosity in erg/s and temperature in K, [n, C, K]."""
        inside = np.clip(temperature, _TEMPERATURES[0], _TEMPERATURES[-2])
        return cls(
            (luminosity / LUMINOSITY_UNIT).astype(np.float32), np.log(inside).astype(np.float32)
        )


@dataclass(frozen=True, slots=True)
class ThermalSources:
    """n sources of C black bodies each."""

    table: npt.NDArray[np.float32]
    """[Z, B, T, 3] see `thermal_table`."""
    curves: Curves
    duration: float
    """Rest-frame days that the curves cover."""
    z: _FloatArray
    """[n]"""
    reddening: _FloatArray
    """[n] E(B-V) of host dust."""
    offset: _FloatArray
    """[n, B] magnitudes by which a source deviates from a black body in each band."""

    def flux(
        self,
        source: npt.NDArray[np.int64],
        days: _FloatArray,
        band: npt.NDArray[np.uint8],
    ) -> _FloatArray:
        """Return nJy, [m]; ``days`` since first light: `models.simulate.source.FluxModel`."""
        check_bands(band)
        return np.asarray(
            _thermal_flux(
                self.table,
                self.curves.luminosity,
                self.curves.ln_temperature,
                np.log1p(self.z) / LN_Z_STEP,
                1.0 / ((1.0 + self.z) * self.duration),
                10.0 ** (-0.4 * distance_modulus(self.z)),
                0.4 * np.log(10.0) * self.reddening,
                10.0 ** (-0.4 * self.offset),
                _LN_T[0],
                _LN_T_STEP,
                source,
                days,
                band,
            )
        )

    def peak(self, survey: str) -> _FloatArray:
        """Return the peak magnitude in the bands in which a survey finds transients, [n]."""
        days = _SEARCHED * self.duration * (1.0 + self.z)[:, None]
        return peak_magnitude(self.flux, days, survey)


@dataclass(frozen=True)
class ThermalPopulation:
    """A parametric class of black bodies: a `models.simulate.source.Population`."""

    name: str
    photometry: Photometry
    parameters: Callable[[np.random.Generator, int], dict[str, _FloatArray]]
    """Draw the physical parameters of n sources, each [n]."""
    curves: Callable[[Mapping[str, _FloatArray], _FloatArray], Curves]
    """Return the curves of sources with given parameters at days [K] since first light."""
    redshifts: Redshifts
    duration: float
    """Rest-frame days from first light to the end of observation."""
    reddening: float
    """Mean E(B-V) of host dust, exponentially distributed."""
    faintest: float = 0.0
    """Peak absolute magnitude (g) that makes a source of this class; 0 for any."""
    ultraviolet_cut_aa: float | None = None
    """Wavelength below which line blanketing absorbs linearly more."""
    fainter: float = 0.0
    """Magnitudes by which the brightest are fainter than those of most classes."""
    candidates: int = 4
    """Candidates of each source, of which one is kept by the volume in which it is detected."""
    variable: bool = False
    galactic: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the class name: there are no templates."""
        return (self.name,)

    @property
    def weights(self) -> _FloatArray:
        """Return 1."""
        return np.ones(1)

    @cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """Return the table of black bodies, built on first use and kept."""
        n_z = int(np.log1p(self.redshifts.z_max) / LN_Z_STEP) + 2
        return thermal_table(self.photometry, n_z, self.ultraviolet_cut_aa)

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        survey: str,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sources:
        """Draw n sources that ``survey`` detects; see `models.simulate.source.Population`."""
        sources = self.draw_sources(rng, n, survey)
        return Sources(
            group=np.zeros(n, np.int64),
            redshift=sources.z.astype(np.float32),
            flux=sources.flux,
            start_days=np.full(n, -BASELINE_DAYS),
            end_days=self.duration * (1.0 + sources.z),
        )

    def draw_sources(self, rng: np.random.Generator, n: int, survey: str) -> ThermalSources:
        """Draw sources with all their parameters."""
        depth = survey_depth(rng, n, survey, self.fainter)
        candidates = self.parameters(rng, n * self.candidates)
        dust = rng.exponential(self.reddening, n * self.candidates)
        magnitude = self._absolute(candidates, dust, survey)
        if self.faintest:
            magnitude = np.where(magnitude > self.faintest, 0.0, magnitude)
        magnitude = magnitude.reshape(n, self.candidates)
        which = self.redshifts.choose(rng, magnitude, depth)
        rows = np.arange(n) * self.candidates + which
        offset = rng.normal(0.0, _BAND_SCATTER, (n, TABLE_BANDS))
        chosen = {name: values[rows] for name, values in candidates.items()}
        curves, dust = self.curves(chosen, NODES * self.duration), dust[rows]

        def at(z: _FloatArray) -> ThermalSources:
            return ThermalSources(self.table, curves, self.duration, z, dust, offset)

        brightness = magnitude[np.arange(n), which]
        return at(place(rng, self.redshifts, brightness, depth, lambda z: at(z).peak(survey)))

    def _absolute(
        self, candidates: Mapping[str, _FloatArray], dust: _FloatArray, survey: str
    ) -> _FloatArray:
        """Return peak absolute magnitudes, dust included, [n]."""
        curves = self.curves(candidates, _FEW_NODES * self.duration)
        z = np.full(len(dust), _NEAR)
        offset = np.zeros((len(dust), TABLE_BANDS))
        near = ThermalSources(self.table, curves, self.duration, z, dust, offset)
        return near.peak(survey) - distance_modulus(z)


def black_bodies(
    temperature: _FloatArray, wavelength: _FloatArray, cut_aa: float | None
) -> _FloatArray:
    """Return spectra [T, W] in erg/s/cm2/A of 1e42 erg/s at 10 pc.

    Below ``cut_aa`` flux is reduced in proportion to wavelength, and what is lost is emitted
    elsewhere in the spectrum (Nicholl, Guillochon & Berger 2017, ApJ 850, 55, section 3).
    """
    fine = np.geomspace(100.0, 3e5, 4000)
    emitted = _planck(temperature, fine, cut_aa)
    steps = np.diff(fine) * 0.5 * (emitted[:, 1:] + emitted[:, :-1])
    area = 4.0 * np.pi * (10.0 * _PARSEC_CM) ** 2
    scale = LUMINOSITY_UNIT / (area * steps.sum(axis=1))
    return np.asarray(_planck(temperature, wavelength, cut_aa) * scale[:, None])


def _planck(temperature: _FloatArray, wavelength: _FloatArray, cut_aa: float | None) -> _FloatArray:
    """Return the shape of black-body spectra per wavelength, [T, W]."""
    x = np.minimum(_HC_K_AA / (wavelength * temperature[:, None]), 300.0)
    shape = (1e4 / wavelength) ** 5 / np.expm1(x)
    return shape if cut_aa is None else shape * np.minimum(wavelength / cut_aa, 1.0)


def thermal_table(
    photometry: Photometry, n_z: int, cut_aa: float | None
) -> npt.NDArray[np.float32]:
    """Return band averages of redshifted black bodies, [Z, B, T, 3].

    Holds ln of the flux (nJy of 1e42 erg/s at 10 pc, factor 1 / (1 + z) included) and mean and
    variance over the band of A / E(B-V) of dust at the source.
    """
    spectra = black_bodies(_TEMPERATURES, REST_WAVELENGTH, cut_aa)
    law = reddening(REST_WAVELENGTH)
    flux, first, second = np.moveaxis(photometry.table([spectra], law, n_z), -1, 0)
    dark = flux <= 0.0
    total = np.where(dark, 1.0, flux)
    mean = np.where(dark, 0.0, first / total)
    variance = np.where(dark, 0.0, np.maximum(second / total - mean**2, 0.0))
    return np.stack([np.log(np.where(dark, 1e-36, flux)), mean, variance], axis=-1)


def diffused(heating: _FloatArray, days: _FloatArray, scale: _FloatArray) -> _FloatArray:
    """Return the luminosity that leaves expanding ejecta heated from inside, [n, K].

    ``heating`` [n, K] at ``days`` [K]; ``scale`` [n] is the diffusion time in days. Arnett 1982
    (ApJ 253, 785): L(t) = exp(-t^2/s^2) int 2 t'/s^2 H(t') exp(t'^2/s^2) dt', exact for heating
    that is constant between nodes.
    """
    return np.asarray(_diffused(heating, days, scale))


def photosphere(
    luminosity: _FloatArray, days: _FloatArray, speed: _FloatArray, floor: _FloatArray
) -> _FloatArray:
    """Return the temperature of a photosphere that expands at ``speed`` cm/s [n], in K, [n, K].

    Once it has cooled to the ``floor`` [n] it recedes at that temperature.
    """
    radius = speed[:, None] * np.maximum(days, 1e-3) * _DAY_S
    hot = np.sqrt(np.sqrt(luminosity / (4.0 * np.pi * STEFAN_BOLTZMANN * radius**2)))
    return np.maximum(hot, floor[:, None])


@compiled
def _diffused(heating, days, scale):  # type: ignore[no-untyped-def]
    """See `diffused`."""
    out = np.zeros_like(heating)
    for i in range(len(heating)):
        for k in range(len(days) - 1):
            kept = np.exp((days[k] ** 2 - days[k + 1] ** 2) / scale[i] ** 2)
            mean = 0.5 * (heating[i, k] + heating[i, k + 1])
            out[i, k + 1] = out[i, k] * kept + mean * (1.0 - kept)
    return out


@compiled
def _thermal_flux(  # type: ignore[no-untyped-def]
    table,
    luminosity,
    ln_temperature,
    z_at,
    per_day,
    scale,
    dust,
    gain,
    ln_t_first,
    ln_t_step,
    source,
    days,
    band,
):
    """Interpolate curves in time and the table in redshift and temperature; sum components."""
    n_z = table.shape[0]
    n_components, n_nodes = luminosity.shape[1], luminosity.shape[2]
    out = np.zeros(len(source))
    for j in range(len(source)):
        s = source[j]
        b = band[j]
        part = days[j] * per_day[s]
        if part <= 0.0:
            continue
        at = np.sqrt(min(part, 1.0)) * (n_nodes - 1)
        t = min(int(at), n_nodes - 2)
        v = at - t
        k = min(int(z_at[s]), n_z - 2)
        u = z_at[s] - k
        for c in range(n_components):
            power = (1 - v) * luminosity[s, c, t] + v * luminosity[s, c, t + 1]
            warmth = (1 - v) * ln_temperature[s, c, t] + v * ln_temperature[s, c, t + 1]
            x = (warmth - ln_t_first) / ln_t_step
            q = int(x)
            w = x - q
            w00, w01, w10, w11 = (1 - u) * (1 - w), (1 - u) * w, u * (1 - w), u * w
            near = table[k, b]
            far = table[k + 1, b]
            ln_flux = (
                w00 * near[q, 0] + w01 * near[q + 1, 0] + w10 * far[q, 0] + w11 * far[q + 1, 0]
            )
            mean = w00 * near[q, 1] + w01 * near[q + 1, 1] + w10 * far[q, 1] + w11 * far[q + 1, 1]
            spread = w00 * near[q, 2] + w01 * near[q + 1, 2] + w10 * far[q, 2] + w11 * far[q + 1, 2]
            exponent = ln_flux - dust[s] * mean + 0.5 * dust[s] ** 2 * spread
            out[j] += power * np.exp(exponent)
        out[j] *= scale[s] * gain[s, b]
    return out
