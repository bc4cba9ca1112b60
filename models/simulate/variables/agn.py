"""Active galactic nuclei: damped random walks on constant host galaxies.

The magnitude of the nucleus is an Ornstein-Uhlenbeck process. Its asymptotic structure
function SF_inf and time scale tau follow Suberlak et al. 2021 (ApJ 907, 96; the form is
that of MacLeod et al. 2010, ApJ 721, 1014)::

    log f = A + B log(lambda_rest / 4000 A) + C (M_i + 23) + D log(M_BH / 10^9 M_sun)

with black hole masses log M_BH ~ N(2 - .27 M_i, .58 + .011 M_i) (MacLeod et al. 2010).
All bands share one walk, larger in the blue by the factor of B.

Notation: n sources, m evaluations, T steps.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.simulate.noise import flux_of_magnitude
from models.simulate.source import REFERENCE_DAYS, Sources
from models.simulate.variables.population import VariablePopulation, half_windows, parametric
from models.simulate.variables.starlight import WAVELENGTHS_AA, apparent_magnitudes, at_band

__all__ = ["agn", "damped_random_walk", "distance_modulus", "structure_function", "time_scale"]

STEP_DAYS: Final = 1.0
"""The walk is exact at these steps and linear in between."""

_SF: Final = (-0.476, -0.479, 0.118, 0.118)
_TAU: Final = (2.597, 0.17, 0.035, 0.141)
_PARAMETER_SCATTER: Final = (0.15, 0.3)  # dex, of SF and tau about the relations
_FAINT_AGN_MI: Final = -18.0
_BRIGHT_AGN_MI: Final = -28.5
_I_MAG: Final = {"ztf": (15.0, 19.8), "lsst": (17.5, 23.8)}
_COUNTS_SLOPE: Final = {"ztf": 0.15, "lsst": 0.15}
_HUBBLE_DISTANCE_MPC: Final = 299792.458 / 70.0
_OMEGA_MATTER: Final = 0.3
_LARGEST_REDSHIFT: Final = 4.0


def agn() -> VariablePopulation:
    """Return the population of AGN."""
    return parametric("AGN", _draw, galactic=False)


def distance_modulus(redshift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return m - M in a flat universe with H0 = 70 km/s/Mpc and Omega_m = .3, [n]."""
    grid = np.linspace(0.0, _LARGEST_REDSHIFT, 2001)
    inverse = 1 / np.sqrt(_OMEGA_MATTER * (1 + grid) ** 3 + 1 - _OMEGA_MATTER)
    steps = (inverse[1:] + inverse[:-1]) / 2 * np.diff(grid)
    comoving = np.interp(redshift, grid, np.concatenate([[0.0], np.cumsum(steps)]))
    return np.asarray(5 * np.log10(comoving * (1 + redshift) * _HUBBLE_DISTANCE_MPC) + 25)


def structure_function(
    rest_aa: npt.NDArray[np.float64],
    magnitude_i: npt.NDArray[np.float64],
    log_mass: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return SF_inf in magnitudes at rest-frame wavelengths in Angstrom."""
    return _relation(_SF, rest_aa, magnitude_i, log_mass)


def time_scale(
    rest_aa: npt.NDArray[np.float64],
    magnitude_i: npt.NDArray[np.float64],
    log_mass: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return tau in days of the rest frame."""
    return _relation(_TAU, rest_aa, magnitude_i, log_mass)


def _relation(
    coefficients: tuple[float, float, float, float],
    rest_aa: npt.NDArray[np.float64],
    magnitude_i: npt.NDArray[np.float64],
    log_mass: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    a, b, c, d = coefficients
    exponent = a + b * np.log10(rest_aa / 4000) + c * (magnitude_i + 23) + d * (log_mass - 9)
    return np.asarray(10**exponent)


def damped_random_walk(
    rng: np.random.Generator, tau: npt.NDArray[np.float64], steps: int, step_days: float
) -> npt.NDArray[np.float32]:
    """Return walks of unit variance and damping times ``tau`` [n] in days, [n, T].

    The recursion x(t + d) = x(t) exp(-d/tau) + N(0, 1 - exp(-2 d/tau)) is exact (Kelly
    et al. 2009, ApJ 698, 895, equation 3) and starts in the stationary state.
    """
    walk = rng.standard_normal((len(tau), steps), np.float32)
    _recur(walk, np.exp(-step_days / tau))
    return walk


@compiled
def _recur(walk, decay):  # type: ignore[no-untyped-def]
    """Turn unit noise [n, T] into the walks."""
    for i in range(len(walk)):
        kick = np.sqrt(1 - decay[i] ** 2)
        for t in range(1, walk.shape[1]):
            walk[i, t] = walk[i, t - 1] * decay[i] + walk[i, t] * kick


def _redshifts(
    rng: np.random.Generator, magnitude: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Draw redshifts that give a nucleus of that i magnitude a possible luminosity, [n].

    A gamma distribution that peaks near 1 for faint and near .3 for bright sources; like
    the counts an approximation of the quasars of SDSS (Richards et al. 2006, AJ 131, 2766).
    """
    scale = np.interp(magnitude, [15.0, 20.0, 24.0], [0.12, 0.5, 0.65])
    redshift = np.clip(rng.gamma(2.2, scale), 0.02, _LARGEST_REDSHIFT - 0.1)
    grid = np.linspace(0.02, _LARGEST_REDSHIFT - 0.1, 400)
    modulus = distance_modulus(grid)
    nearest = np.interp(magnitude - _FAINT_AGN_MI, modulus, grid)
    farthest = np.interp(magnitude - _BRIGHT_AGN_MI, modulus, grid)
    return np.asarray(np.clip(redshift, nearest, farthest))


def _spectrum(
    rng: np.random.Generator, magnitude_i: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return magnitudes of nuclei: power laws F_nu ~ nu^-0.5 with lines as scatter, [n, 6]."""
    n = len(magnitude_i)
    slope = rng.normal(0.5, 0.3, (n, 1))
    lines = rng.normal(0.0, 0.1, (n, len(WAVELENGTHS_AA)))
    bluer = 2.5 * slope * np.log10(WAVELENGTHS_AA / WAVELENGTHS_AA[3])
    return np.asarray(magnitude_i[:, None] - bluer + lines)


def _host(rng: np.random.Generator, redshift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return magnitudes of host galaxies: M_r ~ N(-21.5, .7), redder with redshift, [n, 6]."""
    n = len(redshift)
    magnitude_r = rng.normal(-21.5, 0.7, n) + distance_modulus(redshift) + 1.5 * redshift
    rest = np.array([1.9, 0.7, 0.0, -0.35, -0.6, -0.7])
    drift = np.array([1.0, 0.9, 0.0, -0.3, -0.5, -0.6])
    return np.asarray(magnitude_r[:, None] + rest + drift * np.minimum(redshift, 1.0)[:, None])


def _draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
    n = len(group)
    magnitude = apparent_magnitudes(rng, n, *_I_MAG[survey], _COUNTS_SLOPE[survey])
    redshift = _redshifts(rng, magnitude)
    absolute = magnitude - distance_modulus(redshift)
    log_mass = rng.normal(2 - 0.27 * absolute, np.maximum(0.58 + 0.011 * absolute, 0.1))
    rest = WAVELENGTHS_AA / (1 + redshift[:, None])
    dex = rng.standard_normal((2, n, 1)) * np.reshape(_PARAMETER_SCATTER, (2, 1, 1))
    sigma = structure_function(rest, absolute[:, None], log_mass[:, None]) / np.sqrt(2)
    sigma = np.minimum(sigma * 10 ** dex[0], 1.0)
    # One walk for all bands: tau at r (its exponent of the wavelength is only .17).
    tau = time_scale(rest[:, 2], absolute, log_mass) * 10 ** dex[1, :, 0] * (1 + redshift)
    half = half_windows(rng, n, survey)
    nucleus, host = _spectrum(rng, magnitude), flux_of_magnitude(_host(rng, redshift))
    begin = -half - REFERENCE_DAYS
    steps = int(np.ceil((half.max() * 2 + REFERENCE_DAYS + 100) / STEP_DAYS)) + 1
    walk = damped_random_walk(rng, tau, steps, STEP_DAYS)

    def flux(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        change = at_band(sigma, source, band) * _value(walk, source, days - begin[source])
        light = flux_of_magnitude(at_band(nucleus, source, band) + change)
        return light + at_band(host, source, band)

    return Sources(group, redshift.astype(np.float32), flux, -half, half)


def _value(
    walk: npt.NDArray[np.float32], source: npt.NDArray[np.int64], days: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the walk at days since its begin, [m]."""
    place = np.clip(days / STEP_DAYS, 0, walk.shape[1] - 1.001)
    step = place.astype(np.int64)
    value = walk[source, step]
    return np.asarray(value + (place - step) * (walk[source, step + 1] - value))
