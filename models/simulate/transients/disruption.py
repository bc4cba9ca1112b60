"""Tidal disruption events: hot black bodies that fade like fallback.

Notation: n sources, K nodes of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from models.simulate.transients.photometry import Photometry
from models.simulate.transients.thermal import Curves, ThermalPopulation
from models.simulate.transients.volume import Redshifts

__all__ = ["light", "tidal_disruption"]

_FloatArray = npt.NDArray[np.float64]

_DURATION_DAYS: Final = 420.0
_LOG_LUMINOSITY: Final = (43.3, 45.0)
_LUMINOSITY_SLOPE: Final = 1.0
"""Of dN / dlog10 L, falling. In a volume it is 1.5 (van Velzen 2018, ApJ 852, 72), but then too few
of the candidates are the luminous ones that are half of a sample limited by flux."""
_RISE_SIGMAS: Final = 3.0
_WARMING_DAYS: Final = 100.0
"""Time in which the temperature changes by the factor exp(warming * pi / 4)."""
_FALLBACK: Final = -5.0 / 3.0


def tidal_disruption(photometry: Photometry) -> ThermalPopulation:
    """Return the population TDE.

    A Gaussian rise to the peak and then either an exponential or a t^(-5/3) decline (half
    each); temperatures of 1.2e4 to 4.5e4 K that change slowly, mostly upwards: the description
    and parameters of van Velzen et al. 2021 (ApJ 908, 4). The rate falls as 10^(-5z/6) (Kochanek
    2016, MNRAS 461, 371).
    """
    return ThermalPopulation(
        name="TDE",
        photometry=photometry,
        parameters=_parameters,
        curves=_curves,
        redshifts=Redshifts(lambda z: 10.0 ** (-5.0 * z / 6.0), z_max=1.2),
        duration=_DURATION_DAYS,
        reddening=0.04,
    )


def light(
    days: _FloatArray, rise: _FloatArray, decline: _FloatArray, exponential: npt.NDArray[np.bool_]
) -> _FloatArray:
    """Return luminosity relative to the peak, [n, K].

    ``rise`` [n] is the width of the Gaussian, ``decline`` [n] the e-folding time of exponential
    declines or the offset of power laws, in days. The peak is at three widths.
    """
    since = days - _RISE_SIGMAS * rise[:, None]
    rising = np.exp(-0.5 * (np.minimum(since, 0.0) / rise[:, None]) ** 2)
    aged = np.maximum(since, 0.0) / decline[:, None]
    falling = np.where(exponential[:, None], np.exp(-aged), (1.0 + aged) ** _FALLBACK)
    return np.asarray(np.where(since < 0.0, rising, falling))


def _parameters(rng: np.random.Generator, n: int) -> dict[str, _FloatArray]:
    """Draw luminosities in erg/s, times in days and temperatures in K."""
    near, far = (10.0 ** (-_LUMINOSITY_SLOPE * (x - _LOG_LUMINOSITY[0])) for x in _LOG_LUMINOSITY)
    drop = np.log10(near - rng.random(n) * (near - far)) / _LUMINOSITY_SLOPE
    return {
        "peak": 10.0 ** (_LOG_LUMINOSITY[0] - drop),
        "rise": 10.0 ** np.clip(rng.normal(1.05, 0.2, n), 0.6, 1.6),
        "decline": 10.0 ** np.clip(rng.normal(1.75, 0.2, n), 1.3, 2.3),
        "exponential": (rng.random(n) < 0.5).astype(float),
        "temperature": 10.0 ** np.clip(rng.normal(4.35, 0.13, n), 4.08, 4.65),
        "warming": rng.normal(0.12, 0.15, n),
    }


def _curves(p: Mapping[str, _FloatArray], days: _FloatArray) -> Curves:
    """Return luminosity and temperature."""
    relative = light(days, p["rise"], p["decline"], p["exponential"] > 0.5)
    since = days - _RISE_SIGMAS * p["rise"][:, None]
    drift = np.arctan(since / _WARMING_DAYS) * p["warming"][:, None]
    temperature = p["temperature"][:, None] * np.exp(drift)
    return Curves.of((p["peak"][:, None] * relative)[:, None], temperature[:, None])
