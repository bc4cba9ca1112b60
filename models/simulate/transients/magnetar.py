"""Hydrogen-poor superluminous supernovae, powered by the spin-down of a magnetar.

Notation: n sources, K nodes of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.transients.photometry import Photometry
from models.simulate.transients.thermal import (
    Curves,
    ThermalPopulation,
    diffused,
    photosphere,
)
from models.simulate.transients.volume import Redshifts, star_formation_rate

__all__ = ["spin_down", "superluminous"]

_FloatArray = npt.NDArray[np.float64]

_DURATION_DAYS: Final = 260.0
_SUN_G: Final = 1.989e33
_LIGHT_CM_S: Final = 2.99792458e10
_DAY_S: Final = 86400.0
_BETA: Final = 13.7
"""Of the density profile in the diffusion time (Arnett 1982)."""


def superluminous(photometry: Photometry) -> ThermalPopulation:
    """Return the population SLSN-I.

    Magnetar model and black body cut below 3000 A of Nicholl, Guillochon & Berger 2017 (ApJ 850,
    55); parameters scatter about their table 3. Peaks fainter than -19.8 in g are not called
    superluminous (De Cia et al. 2018, ApJ 860, 100). The rate follows star formation (Prajs
    et al. 2017, MNRAS 464, 3568). Dwarf hosts with little dust (Lunnan et al. 2014).
    """
    return ThermalPopulation(
        name="SLSN-I",
        photometry=photometry,
        parameters=_parameters,
        curves=_curves,
        redshifts=Redshifts(star_formation_rate, z_max=2.2),
        duration=_DURATION_DAYS,
        reddening=0.04,
        faintest=-19.8,
        # So rare that hardly one is near: two thirds of those of ZTF are at z = .13 to .41 (Chen et
        # al. 2023, ApJ 943, 41).
        fainter=1.2,
        ultraviolet_cut_aa=3000.0,
    )


def spin_down(days: _FloatArray, period_ms: _FloatArray, field_1e14_g: _FloatArray) -> _FloatArray:
    """Return the power of a magnetar in erg/s at ``days`` [K], for n of them, [n, K].

    Nicholl et al. 2017, equations 2 to 4, for 1.4 solar masses and a magnetic axis at 90 degrees.
    """
    energy = 2.6e52 * period_ms**-2.0
    time_s = 1.3e5 * period_ms**2 * field_1e14_g**-2.0
    slowed = 1.0 + days * _DAY_S / time_s[:, None]
    return np.asarray((energy / time_s)[:, None] * slowed**-2.0)


def _parameters(rng: np.random.Generator, n: int) -> dict[str, _FloatArray]:
    """Draw magnetars and their ejecta, cgs units unless named otherwise."""
    return {
        "period_ms": np.clip(2.6 * np.exp(rng.normal(0.0, 0.4, n)), 1.0, 8.0),
        "field_1e14_g": np.clip(0.8 * np.exp(rng.normal(0.0, 0.8, n)), 0.1, 5.0),
        "mass": np.clip(4.8 * np.exp(rng.normal(0.0, 0.7, n)), 1.0, 40.0) * _SUN_G,
        "speed": np.clip(rng.normal(1.2e9, 0.3e9, n), 0.6e9, 2.0e9),
        "opacity": rng.uniform(0.05, 0.2, n),
        "gamma_opacity": 10.0 ** rng.uniform(-2.0, 0.0, n),
        "floor_k": np.clip(rng.normal(6500.0, 1000.0, n), 4000.0, 9000.0),
    }


def _curves(p: Mapping[str, _FloatArray], days: _FloatArray) -> Curves:
    """Return what leaves the ejecta, and the temperature of their photosphere."""
    scale = np.sqrt(2.0 * p["opacity"] * p["mass"] / (_BETA * _LIGHT_CM_S * p["speed"])) / _DAY_S
    leakage = 3.0 * p["gamma_opacity"] * p["mass"] / (4.0 * np.pi * p["speed"] ** 2)
    heating = spin_down(days, p["period_ms"], p["field_1e14_g"])
    luminosity = diffused(heating, days, scale) * _trapped(days, leakage)
    temperature = photosphere(luminosity, days, p["speed"], p["floor_k"])
    return Curves.of(luminosity[:, None], temperature[:, None])


def _trapped(days: _FloatArray, leakage_s2: _FloatArray) -> _FloatArray:
    """Return the share of the power that heats, [n, K] (Wang et al. 2015, ApJ 799, 107)."""
    since_s2 = (np.maximum(days, 0.01) * _DAY_S) ** 2
    return np.asarray(-np.expm1(-leakage_s2[:, None] / since_s2))
