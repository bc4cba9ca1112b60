"""RR Lyrae stars from the templates of Sesar et al. 2010 (ApJ 708, 717).

The folder of inputs holds ``rrlyrae_ugriz_templates.npz``: ``template`` names (0 and 1 are
type c, the others type ab), ``band``, ``offset`` and flat ``phase`` and ``mag`` (0 brightest,
1 faintest). Real stars of ZTF can be added as templates (`ztf_stars`).

Notation: n sources, G templates, N steps of phase.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.lightcurve import BANDS
from models.simulate.source import Sources
from models.simulate.variables.folded import STEPS, folded, on_grid
from models.simulate.variables.population import (
    VariablePopulation,
    brightness,
    half_windows,
    stars,
)
from models.simulate.variables.starlight import apparent_magnitudes, interpolated
from models.simulate.variables.ztf_stars import FoldedStars, load_ztf_stars

__all__ = ["TEMPLATES_FILE", "amplitude_of_period", "rr_lyrae"]

TEMPLATES_FILE: Final = "rrlyrae_ugriz_templates.npz"

_ARRAYS: Final = ("template", "band", "offset", "phase", "mag")
_ORDER: Final = "ugriz"
_TYPE_C: Final = ("0", "1")
_SHARE_C: Final = 0.25  # Sesar et al. 2010: 104 of 483 stars
_AMPLITUDE_OF_G: Final = np.array([0.97, 1.0, 0.71, 0.57, 0.52, 0.51])  # ugrizy, ibid.
_COLOURS: Final = np.array([1.35, 0.20, 0.0, -0.07, -0.08, -0.08])  # mean, relative to r
_R_MAG: Final = {"ztf": (13.5, 20.0), "lsst": (16.5, 24.0)}
_COUNTS_SLOPE: Final = 0.08  # the halo thins out about as fast as the volume grows


def rr_lyrae(inputs: Path, ztf_stars: Path | None = None) -> VariablePopulation:
    """Return the population of RR Lyrae; each template or star is a group.

    Raise `DataError` for files that are missing or not as documented.
    """
    names, curves = _sesar(inputs / TEMPLATES_FILE)
    is_c = np.array([name in _TYPE_C for name in names])
    weights = np.where(is_c, _SHARE_C / is_c.sum(), (1 - _SHARE_C) / (~is_c).sum())
    names = tuple(f"Sesar {name}" for name in names)
    real = load_ztf_stars(ztf_stars, "RR Lyr") if ztf_stars is not None else None
    if real is not None:
        weights = np.concatenate([weights, np.full(len(real.names), 1 / len(real.names))])
        names += real.names

    def draw(rng: np.random.Generator, group: npt.NDArray[np.int64], survey: str) -> Sources:
        return _draw(rng, group, survey, curves, is_c, real)

    return VariablePopulation("RRL", draw, names, weights)


def amplitude_of_period(period_days: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the g amplitude of type ab in magnitudes by period.

    The B amplitude of Oosterhoff I stars (Cacciari et al. 2005, AJ 129, 267, for M3), of
    which g has .9; limited to where it was measured.
    """
    x = np.log10(np.clip(period_days, 0.47, 0.70))
    return np.asarray(0.9 * np.clip(-3.123 - 26.331 * x - 35.853 * x**2, 0.3, 1.7))


def _sesar(path: Path) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """Read the templates: names and curves minus their mean, [G, rows of BANDS, N]."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read {path} ({error}): it must hold the arrays {', '.join(_ARRAYS)}; "
            "models/simulate/variables/rrlyrae.py describes them",
            path,
        ) from error
    names = tuple(str(name) for name in np.unique(arrays["template"]))
    curves = np.zeros((len(names), len(BANDS), STEPS), np.float32)
    for g, name in enumerate(names):
        found: dict[int, npt.NDArray[np.float32]] = {}
        for i in np.flatnonzero(arrays["template"] == name):
            part = slice(arrays["offset"][i], arrays["offset"][i + 1])
            curve = on_grid(arrays["phase"][part], arrays["mag"][part])
            found[_ORDER.index(str(arrays["band"][i]))] = curve - curve.mean()
        curves[g] = [_nearest(found, band.name) for band in BANDS]
    return names, curves


def _nearest(found: dict[int, npt.NDArray[np.float32]], band: str) -> npt.NDArray[np.float32]:
    """Return the curve of the band, or of the nearest band that the template has."""
    wanted = _ORDER.index(band) if band in _ORDER else len(_ORDER) - 1
    return found[min(found, key=lambda have: abs(have - wanted))]


def _draw(
    rng: np.random.Generator,
    group: npt.NDArray[np.int64],
    survey: str,
    curves: npt.NDArray[np.float32],
    is_c: npt.NDArray[np.bool_],
    real: FoldedStars | None,
) -> Sources:
    n = len(group)
    type_c = np.append(is_c, False)[np.minimum(group, len(is_c))]
    period = np.where(
        type_c,
        np.clip(rng.normal(0.33, 0.04, n), 0.22, 0.45),
        np.clip(rng.normal(0.57, 0.07, n), 0.42, 0.85),
    )
    amplitude = np.where(
        type_c,
        np.clip(rng.normal(0.52, 0.09, n), 0.25, 0.8),
        np.clip(amplitude_of_period(period) + rng.normal(0, 0.12, n), 0.25, 1.6),
    )
    ratio = _AMPLITUDE_OF_G * rng.normal(1.0, 0.03, (n, 6))
    amplitudes = interpolated(amplitude[:, None] * ratio)
    if real is not None:
        star = group - len(is_c)
        is_star = star >= 0
        period[is_star] = real.period_days[star[is_star]]
        amplitudes[is_star] = rng.normal(1.0, 0.05, (int(is_star.sum()), 1))
        curves = np.concatenate([curves, real.curves])
    magnitude = apparent_magnitudes(rng, n, *_R_MAG[survey], _COUNTS_SLOPE)
    hotter = np.where(type_c, -0.12, 0.0) + rng.normal(0, 0.04, n)
    mean = magnitude[:, None] + _COLOURS + hotter[:, None] * np.array([0.5, 1, 0, -0.4, -0.6, -0.6])
    half = half_windows(rng, n, survey)
    change = folded(curves, group, amplitudes, period, rng.random(n))
    return stars(group, brightness(mean, change), -half, half)
