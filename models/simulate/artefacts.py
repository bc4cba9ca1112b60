"""Detections that are no object of any class, for teaching a classifier to refuse.

They are observed like sources (`models.simulate.survey`), but what is put into the
difference images is no light curve. Signals are set in units of the noise of an image.

Notation: n curves, m exposures in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from models.augment import n_detections
from models.errors import ConfigurationError
from models.lightcurve import BANDS, DETECTION_SNR, LightCurves
from models.simulate.noise import flux_of_magnitude
from models.simulate.observatory import Observatory, open_observatory
from models.simulate.survey import measure
from models.simulate.visits import Visits, visit

__all__ = ["KINDS", "artefacts", "artefacts_of_kind", "flattened"]

_Signal: TypeAlias = Callable[[np.random.Generator, Visits], npt.NDArray[np.float64]]
"""(rng, visits) -> difference flux without noise, nJy, [m]."""

_HALF_WINDOW_DAYS: Final = (20.0, 90.0)
_SMALLEST_BATCH: Final = 64
_PATIENCE: Final = 100
_LEVEL: Final = (2.0, 7.7)  # log10 of nJy: magnitudes 26.4 to 12.2
_LEVEL_SNR: Final = (0.6, 2.5)  # log10
_ERROR_SCATTER: Final = 0.2  # natural logarithm
_ONE_BAND: Final = 0.25
_COLOUR_SCATTER: Final = 0.3  # of ln(flux) between bands
_NIGHT_DAYS: Final = 0.2  # a moving object stays within the same pixels for no longer
_COLOUR: Final = {"u": 1.6, "g": 0.5, "r": 0.0, "i": -0.15, "z": -0.15, "y": -0.15}
"""Of sunlight that asteroids reflect, AB magnitudes relative to r."""


def artefacts(
    n: int, survey: str, rng: np.random.Generator, inputs: Path, kinds: tuple[str, ...] = ()
) -> LightCurves:
    """Return n curves with at least one detection, in equal numbers of each kind.

    ``kinds``: names in `KINDS`, all by default; rows are in their order. ``inputs`` as for
    `models.simulate.simulate`. `ConfigurationError` for an unknown kind or survey.
    """
    kinds = kinds or tuple(KINDS)
    observatory = open_observatory(inputs, survey)
    shares = np.diff(np.linspace(0, n, len(kinds) + 1).round().astype(int))
    return LightCurves.concatenate(
        [
            artefacts_of_kind(kind, int(share), observatory, rng)
            for kind, share in zip(kinds, shares, strict=True)
        ]
    )


def flattened(curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Return curves as they would be if nothing varied: no flux, a constant one, or one point.

    Of each a third, in the cadence of ``curves``. Fluxes are of any size and significance; half
    of the curves are without any noise, half of one colour, a quarter has but one band. A
    model that is sure of a class here reads what is not there.
    """
    n, counts = len(curves), curves.n_observations
    owner = np.repeat(np.arange(n), counts)
    kind = rng.integers(0, 3, n)
    level = 10 ** rng.uniform(*_LEVEL, n) * rng.choice([-1.0, 1.0, 1.0], n)
    colour = rng.normal(0.0, _COLOUR_SCATTER, (n, len(BANDS))) * rng.integers(0, 2, (n, 1))
    own = level[owner] * np.exp(colour[owner, curves.band])
    snr = 10 ** rng.uniform(*_LEVEL_SNR, n)
    error = np.abs(own) / snr[owner] * np.exp(_ERROR_SCATTER * rng.standard_normal(len(owner)))
    is_flat = kind[owner] == 0
    error = np.where(is_flat, curves.flux_err, error)
    noise = rng.integers(0, 2, n)[owner] * rng.standard_normal(len(owner)) * error
    flux = np.where(is_flat, 0.0, own) + noise
    detected = ~is_flat & (np.abs(flux) >= DETECTION_SNR * error)
    chosen = curves.splits[:-1] + (rng.random(n) * counts).astype(np.int64)
    chosen = np.minimum(chosen, len(owner) - 1)
    one_band = (rng.random(n) < _ONE_BAND)[owner]
    keep = (kind[owner] < 2) & (~one_band | (curves.band == curves.band[chosen][owner]))
    keep[chosen[counts > 0]] = True
    changed = replace(
        curves, flux=flux.astype(np.float32), flux_err=error.astype(np.float32), detected=detected
    )
    return changed.where(keep)


def artefacts_of_kind(
    kind: str, n: int, observatory: Observatory, rng: np.random.Generator
) -> LightCurves:
    """Return n curves of one kind with at least one detection each."""
    if kind not in KINDS:
        raise ConfigurationError(f"no artefact {kind!r}; known: {', '.join(KINDS)}", kind)
    parts: list[LightCurves] = []
    found = drawn = 0
    while found < n or not parts:
        if drawn > _PATIENCE * max(n, _SMALLEST_BATCH):
            raise ConfigurationError(
                f"only {found} of {drawn} artefacts of kind {kind} were detected: "
                "the cadence is too sparse or too shallow",
                kind,
            )
        size = max(2 * (n - found), _SMALLEST_BATCH)
        curves = _draw(KINDS[kind], size, observatory, rng)
        chosen = np.flatnonzero(n_detections(curves) > 0)[: n - found]
        parts.append(curves.take(chosen))
        found, drawn = found + len(chosen), drawn + size
    return LightCurves.concatenate(parts)


def _draw(
    signal: _Signal, n: int, observatory: Observatory, rng: np.random.Generator
) -> LightCurves:
    half = rng.uniform(*_HALF_WINDOW_DAYS, n)
    visits = visit(-half, half, False, observatory, rng)
    difference = signal(rng, visits)
    curves, _ = measure(visits, difference, np.zeros((n, len(BANDS))), observatory, rng)
    return curves


def _noise(visits: Visits) -> npt.NDArray[np.float64]:
    """Return the noise of each image, nJy, [m]."""
    return visits.depth / 5


def _some(rng: np.random.Generator, visits: Visits, most: int) -> npt.NDArray[np.bool_]:
    """Mark 1 to ``most`` random exposures of each curve, [m]."""
    n = len(visits.reference_mjd)
    order = np.lexsort((rng.random(len(visits.source)), visits.source))
    count = np.bincount(visits.source, minlength=n)
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    marked = np.empty(len(order), np.bool_)
    marked[order] = place < rng.integers(1, most + 1, n)[visits.source[order]]
    return marked


def _signs(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], n)


def _flat(rng: np.random.Generator, visits: Visits) -> npt.NDArray[np.float64]:
    """Return no flux but one or two peaks of the noise just above the threshold."""
    m = len(visits.source)
    peak = rng.uniform(6.0, 8.0, m) * _signs(rng, m) * _some(rng, visits, 2)
    return np.asarray(peak * _noise(visits))


def _bad_subtraction(rng: np.random.Generator, visits: Visits) -> npt.NDArray[np.float64]:
    """Return one to three isolated detections of either sign and any strength, all in one band."""
    m, n = len(visits.source), len(visits.reference_mjd)
    chosen = _some(rng, visits, 3)
    first = np.full(n, -1)
    rows = np.flatnonzero(chosen)[::-1]
    first[visits.source[rows]] = visits.band[rows]
    strength = np.exp(rng.uniform(np.log(8), np.log(300), m)) * _signs(rng, m)
    one_band = visits.band == first[visits.source]
    return np.asarray(chosen * one_band * strength * _noise(visits))


def _moving_object(rng: np.random.Generator, visits: Visits) -> npt.NDArray[np.float64]:
    """Return an asteroid: sunlight in the exposures of a part of one night, never again."""
    n = len(visits.reference_mjd)
    night = np.zeros(n)
    rows = np.flatnonzero(_some(rng, visits, 1))
    night[visits.source[rows]] = visits.mjd[rows]
    limit = np.zeros(n)
    limit[visits.source[rows]] = visits.depth[rows]
    stay = np.where(rng.random(n) < 0.5, 1e-6, rng.uniform(0.0, _NIGHT_DAYS, n))
    bright = limit * 10 ** (0.4 * rng.exponential(1.2, n) + 0.2)
    colour = np.array([_COLOUR[band.name] for band in BANDS])
    relative = flux_of_magnitude(colour) / flux_of_magnitude(np.zeros(1))
    there = np.abs(visits.mjd - night[visits.source]) <= stay[visits.source]
    return np.asarray(there * bright[visits.source] * relative[visits.band])


def _constant_offset(rng: np.random.Generator, visits: Visits) -> npt.NDArray[np.float64]:
    """Return a dipole or a defect of the reference: the same flux at every epoch, by band.

    It drifts slowly and scatters with the seeing.
    """
    m, n = len(visits.source), len(visits.reference_mjd)
    exposures = np.maximum(np.bincount(visits.source, minlength=n), 1)
    typical = np.bincount(visits.source, _noise(visits), n) / exposures
    offset = typical * np.exp(rng.uniform(np.log(6), np.log(60), n)) * _signs(rng, n)
    per_band = offset[:, None] * rng.uniform(0.3, 1.2, (n, len(BANDS)))
    seeing = 1 + rng.uniform(0.0, 0.3, n)[visits.source] * rng.standard_normal(m)
    drift = 1 + rng.normal(0, 0.002, n)[visits.source] * visits.days
    return np.asarray(per_band[visits.source, visits.band] * seeing * drift)


def _ghost(rng: np.random.Generator, visits: Visits) -> npt.NDArray[np.float64]:
    """Return cosmic rays, ghosts and bleeding: erratic flux of any strength in some epochs."""
    m, n = len(visits.source), len(visits.reference_mjd)
    often = rng.uniform(0.05, 0.5, n)[visits.source]
    sign = np.where(rng.random(n) < 0.5, 1.0, 0.0)[visits.source]
    sign = np.where(sign > 0, sign, _signs(rng, m))
    strength = np.exp(rng.normal(np.log(15), 1.0, m))
    return np.asarray((rng.random(m) < often) * sign * strength * _noise(visits))


KINDS: Final[dict[str, _Signal]] = {
    "flat": _flat,
    "bad subtraction": _bad_subtraction,
    "moving object": _moving_object,
    "constant offset": _constant_offset,
    "ghost": _ghost,
}
"""Name of a kind of artefact -> the signal it leaves."""
