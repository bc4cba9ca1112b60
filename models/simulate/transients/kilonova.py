"""Kilonovae of merging neutron stars: two components of radioactive ejecta.

Notation: n sources, K nodes of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.simulate.transients.photometry import Photometry
from models.simulate.transients.thermal import (
    Curves,
    ThermalPopulation,
    diffused,
    photosphere,
)
from models.simulate.transients.volume import Redshifts

__all__ = ["kilonova", "radioactive_heating"]

_FloatArray = npt.NDArray[np.float64]
_Range = tuple[float, float]

_DURATION_DAYS: Final = 25.0
_SUN_G: Final = 1.989e33
_LIGHT_CM_S: Final = 2.99792458e10
_DAY_S: Final = 86400.0
_BETA: Final = 13.4
"""Of the density profile in the diffusion time (Villar et al. 2017)."""


class _Component(NamedTuple):
    """Ranges of the parameters of one component, uniform in their logarithm."""

    mass_sun: _Range
    speed_c: _Range
    opacity: _Range
    floor_k: _Range


# About the fit of GW170817: Villar et al. 2017 (ApJ 851, L21), table 1; spreads as in Setzer
# et al. 2019 (MNRAS 485, 4260) and Metzger 2019 (Living Reviews in Relativity 23, 1).
_BLUE: Final = _Component((0.006, 0.05), (0.15, 0.32), (0.3, 1.0), (2500.0, 5000.0))
_RED: Final = _Component((0.01, 0.08), (0.08, 0.2), (2.5, 10.0), (1000.0, 2200.0))


def kilonova(photometry: Photometry) -> ThermalPopulation:
    """Return the population KN.

    A fast lanthanide-poor and a slower lanthanide-rich component (Villar et al. 2017, ApJ 851,
    L21; Metzger 2019), a rate per volume that does not change out to where they are seen.
    """
    return ThermalPopulation(
        name="KN",
        photometry=photometry,
        parameters=_parameters,
        curves=_curves,
        redshifts=Redshifts(np.ones_like, z_max=0.35),
        duration=_DURATION_DAYS,
        reddening=0.04,
    )


def radioactive_heating(days: _FloatArray) -> _FloatArray:
    """Return the heating by r-process nuclei that is thermalised, in erg/s/g, [K].

    Korobkin et al. 2012 (MNRAS 426, 1940), equation 4, times the efficiency of Barnes et al. 2016
    (ApJ 829, 110), equation 34, for 0.01 solar masses at 0.2 c.
    """
    seconds = days * _DAY_S
    rate = 4.0e18 * (0.5 - np.arctan((seconds - 1.3) / 0.11) / np.pi) ** 1.3
    t = np.maximum(days, 1e-4)
    slow = 2.0 * 0.17 * t**0.74
    efficiency = 0.36 * (np.exp(-0.56 * t) + np.log1p(slow) / slow)
    return np.asarray(rate * efficiency)


def _parameters(rng: np.random.Generator, n: int) -> dict[str, _FloatArray]:
    """Draw both components; the names of their parameters begin with blue and red."""
    return {
        f"{name}_{field}": np.exp(rng.uniform(np.log(low), np.log(high), n))
        for name, component in (("blue", _BLUE), ("red", _RED))
        for field, (low, high) in component._asdict().items()
    }


def _curves(p: Mapping[str, _FloatArray], days: _FloatArray) -> Curves:
    """Return luminosity and temperature of both components."""
    # The heat of the first seconds is lost to expansion: start where the grid starts.
    heating = radioactive_heating(np.maximum(days, days[1]))
    parts = [_component(p, name, days, heating) for name in ("blue", "red")]
    return Curves.of(
        np.stack([luminosity for luminosity, _ in parts], axis=1),
        np.stack([temperature for _, temperature in parts], axis=1),
    )


def _component(
    p: Mapping[str, _FloatArray], name: str, days: _FloatArray, heating: _FloatArray
) -> tuple[_FloatArray, _FloatArray]:
    """Return luminosity in erg/s and temperature in K of one component, [n, K]."""
    mass, speed = p[f"{name}_mass_sun"] * _SUN_G, p[f"{name}_speed_c"] * _LIGHT_CM_S
    scale = np.sqrt(2.0 * p[f"{name}_opacity"] * mass / (_BETA * _LIGHT_CM_S * speed)) / _DAY_S
    luminosity = diffused(mass[:, None] * heating, days, scale)
    return luminosity, photosphere(luminosity, days, speed, p[f"{name}_floor_k"])
