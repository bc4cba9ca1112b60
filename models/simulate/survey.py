"""How a survey turns sources into difference-image light curves.

Every exposure of the observed window becomes a measured difference flux with its
error; what of them an alert would carry is decided later (`models.augment`).

Notation: n sources, m observations, B bands of the survey, E reference epochs.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.lightcurve import BANDS, DETECTION_SNR, LightCurves
from models.simulate.cadence import Cadence, load_cadence
from models.simulate.dust import COEFFICIENTS, draw_reddening
from models.simulate.noise import flux_of_magnitude, lsst_error, ztf_error
from models.simulate.source import REFERENCE_DAYS, Sources

__all__ = [
    "GENUINE_SNR",
    "Observatory",
    "Programme",
    "measure",
    "observe",
    "open_observatory",
    "visit",
]

MARGIN_DAYS: Final = 30.0
"""Observed before and after the window of a source: what a ZTF alert looks back."""
GENUINE_SNR: Final = 3.0
"""A detection of a true difference below this many sigma is called noise."""
_REFERENCE_GAP_DAYS: Final = (20.0, 400.0)
_REFERENCE_SPAN_DAYS: Final = (40.0, 500.0)
_LATITUDE_SCALE_DEG: Final = 20.0
_SCATTER: Final = 0.35  # of the quality of subtractions, natural logarithm
_WORSE: Final = (2.0, 5.0)

_ErrorModel = Callable[
    [
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
    ],
    npt.NDArray[np.float64],
]


@dataclass(frozen=True, slots=True)
class Programme:
    """What distinguishes the public stream of a survey from its table of exposures."""

    saturation_mag: dict[str, float]
    """Band -> total AB magnitude above which a source is not measured."""
    reference_epochs: tuple[int, int]
    """Exposures that make a reference image, from and to."""
    bad_subtractions: float
    """Fraction of measurements whose error is underestimated 2 to 5 times."""
    nights: tuple[float, float] = (1.0, 1.0)
    """Range of the fraction of nights that a position's public programme has."""
    repeats: tuple[float, float] = (1.0, 1.0)
    """Range of the fraction of second exposures of a night and band that it has."""
    rare_bands: dict[str, float] | None = None
    """Band -> fraction of objects that have it at all."""


PROGRAMMES: Final[dict[str, Programme]] = {
    "ztf": Programme(
        saturation_mag={"g": 12.5, "r": 12.5, "i": 12.0},
        reference_epochs=(10, 24),
        bad_subtractions=0.006,
        nights=(0.3, 0.95),
        repeats=(0.05, 0.7),
        rare_bands={"i": 0.08},
    ),
    "lsst": Programme(
        saturation_mag={"u": 15.0, "g": 16.0, "r": 16.0, "i": 16.0, "z": 15.5, "y": 15.0},
        reference_epochs=(5, 15),
        bad_subtractions=0.004,
    ),
}
"""Survey -> its programme.

ZTF: Bellm et al. 2019 (PASP 131, 018002; public g, r every 3 and later 2 nights; public
alerts have no i, which is kept for a few); saturation Masci et al. 2019. LSST: saturation
of 30 s visits of the Science Requirements Document (LPM-17), about 16 mag.
"""


@dataclass(frozen=True, slots=True)
class Observatory:
    """A survey ready to observe."""

    cadence: Cadence
    programme: Programme
    error: _ErrorModel
    saturation: npt.NDArray[np.float64]
    """Flux in nJy by row of `BANDS`."""
    rarity: npt.NDArray[np.float64]
    """Fraction of objects with the band, by row of `BANDS`."""

    @property
    def survey(self) -> str:
        """Return the name of the survey."""
        return self.cadence.survey


@dataclass(frozen=True, slots=True)
class Visits:
    """The m exposures of n sources, those of one source together and in order of time."""

    source: npt.NDArray[np.int64]
    """[m]"""
    mjd: npt.NDArray[np.float64]
    """[m] days."""
    band: npt.NDArray[np.uint8]
    """[m] row of `BANDS`."""
    depth: npt.NDArray[np.float64]
    """[m] flux of the 5-sigma limit, nJy."""
    reference_mjd: npt.NDArray[np.float64]
    """[n] the source's reference time."""
    latitude: npt.NDArray[np.float64]
    """[n] absolute galactic latitude, degrees."""

    @property
    def days(self) -> npt.NDArray[np.float64]:
        """Return the time since the reference time of the source, days, [m]."""
        return self.mjd - self.reference_mjd[self.source]


def open_observatory(inputs: Path, survey: str) -> Observatory:
    """Read the cadence of a survey and prepare to observe with it."""
    cadence = load_cadence(inputs, survey)
    programme = PROGRAMMES[survey]
    saturation, rarity = np.full(len(BANDS), np.inf), np.ones(len(BANDS))
    for row, band in enumerate(BANDS):
        if band.survey == survey:
            magnitude = np.array([programme.saturation_mag[band.name]])
            saturation[row] = flux_of_magnitude(magnitude)[0]
            rarity[row] = (programme.rare_bands or {}).get(band.name, 1.0)
    error = ztf_error if survey == "ztf" else lsst_error
    return Observatory(cadence, programme, error, saturation, rarity)


def observe(
    sources: Sources,
    variable: bool,
    galactic: bool,
    observatory: Observatory,
    rng: np.random.Generator,
) -> tuple[LightCurves, npt.NDArray[np.bool_]]:
    """Observe each source at a random position and time.

    The position and time are those of a random exposure, so that every source is looked
    at within its window at least once; curves may still be without any detection.
    Returns n curves and which measurements truly differ from the reference, see `measure`.
    """
    n = len(sources)
    visits = visit(sources.start_days, sources.end_days, galactic, observatory, rng)
    reddening = draw_reddening(rng, visits.latitude, galactic)
    total = sources.flux(visits.source, visits.days, visits.band)
    total = total * _transmission(reddening[visits.source], visits.band)
    if variable:
        reference = _reference(sources, reddening, observatory, rng)
    else:
        reference = np.zeros((n, len(BANDS)))
    return measure(visits, total, reference, observatory, rng)


def visit(
    start_days: npt.NDArray[np.float64],
    end_days: npt.NDArray[np.float64],
    galactic: bool,
    observatory: Observatory,
    rng: np.random.Generator,
) -> Visits:
    """Draw positions and reference times, and return the exposures there and then.

    Windows [n] in days; `MARGIN_DAYS` are added on both sides.
    """
    cadence, n = observatory.cadence, len(start_days)
    weight = np.exp(-cadence.latitude / _LATITUDE_SCALE_DEG) if galactic else None
    if weight is not None:
        weight = weight / weight.sum()
    position = rng.choice(len(cadence.latitude), n, p=weight)
    first, end = cadence.splits[position], cadence.splits[position + 1]
    anchor = cadence.mjd[rng.integers(first, end)]
    reference_mjd = anchor - rng.uniform(start_days, end_days)
    begin, stop = cadence.window(
        position,
        reference_mjd + start_days - MARGIN_DAYS,
        reference_mjd + end_days + MARGIN_DAYS,
    )
    source, exposure = _ranges(begin, stop)
    keep = _public(source, exposure, n, observatory, rng)
    source, exposure = source[keep], exposure[keep]
    return Visits(
        source,
        cadence.mjd[exposure],
        cadence.band[exposure],
        flux_of_magnitude(cadence.depth[exposure]),
        reference_mjd,
        cadence.latitude[position],
    )


def measure(
    visits: Visits,
    total: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    observatory: Observatory,
    rng: np.random.Generator,
) -> tuple[LightCurves, npt.NDArray[np.bool_]]:
    """Subtract reference images from total fluxes [m] and add noise.

    Returns n curves and, for each of their measurements, whether the true difference is
    above `GENUINE_SNR`: other detections are noise or bad subtractions.

    ``reference`` [n, rows of BANDS] is the flux of the source in the reference image
    before its noise, which is common to all epochs of a band and part of their error.
    Saturated measurements, in the image or its reference, are left out.
    """
    source, band = visits.source, visits.band
    reference_flux = reference[source, band]
    offset, reference_error = _reference_noise(visits, reference, observatory, rng)
    difference = total - reference_flux
    quality = np.exp(_SCATTER * rng.standard_normal(len(reference)))[source]
    quality *= np.exp(_SCATTER * rng.standard_normal(len(source)))
    error = observatory.error(visits.depth, total, difference, quality)
    error = np.hypot(error, reference_error[source, band])
    worse = rng.random(len(source)) < observatory.programme.bad_subtractions
    noise = rng.standard_normal(len(source)) * np.where(worse, rng.uniform(*_WORSE, len(source)), 1)
    # The reference's own noise is drawn once per band: take its part out of the rest.
    independent = np.sqrt(np.maximum(error**2 - reference_error[source, band] ** 2, 0.0))
    flux = (difference + noise * independent - offset[source, band]).astype(np.float32)
    keep = np.maximum(total, reference_flux) < observatory.saturation[band]
    genuine = np.abs(difference) >= GENUINE_SNR * error
    return _curves(visits, flux, error.astype(np.float32), keep), genuine[keep]


def _curves(
    visits: Visits,
    flux: npt.NDArray[np.float32],
    error: npt.NDArray[np.float32],
    keep: npt.NDArray[np.bool_],
) -> LightCurves:
    splits = np.zeros(len(visits.reference_mjd) + 1, np.int64)
    np.cumsum(np.bincount(visits.source[keep], minlength=len(splits) - 1), out=splits[1:])
    flux, error = flux[keep], error[keep]
    detected = np.abs(flux) >= DETECTION_SNR * error
    return LightCurves(splits, visits.mjd[keep], visits.band[keep], flux, error, detected)


def _transmission(
    reddening: npt.NDArray[np.float64], band: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    return np.asarray(10 ** (-0.4 * COEFFICIENTS[band] * reddening))


def _reference(
    sources: Sources,
    reddening: npt.NDArray[np.float64],
    observatory: Observatory,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return the flux in reference images of each source and band, [n, rows of BANDS].

    The trimmed mean over earlier epochs, as stacks reject outliers; the epochs differ
    between bands, as exposures do.
    """
    n = len(sources)
    rows = np.array([i for i, b in enumerate(BANDS) if b.survey == observatory.survey], np.uint8)
    low, high = observatory.programme.reference_epochs
    count = np.repeat(rng.integers(low, high + 1, n), len(rows))  # [n B]
    owner = np.repeat(np.arange(n * len(rows)), count)  # [E]
    source, band = owner // len(rows), rows[owner % len(rows)]
    end = sources.start_days - MARGIN_DAYS - rng.uniform(*_REFERENCE_GAP_DAYS, n)
    span = rng.uniform(*_REFERENCE_SPAN_DAYS, n)
    days = end[source] - span[source] * rng.random(len(source))
    days = np.maximum(days, sources.start_days[source] - REFERENCE_DAYS)
    flux = sources.flux(source, days, band) * _transmission(reddening[source], band)
    reference = np.zeros((n, len(BANDS)))
    reference[:, rows] = _trimmed_mean(flux, count).reshape(n, len(rows))
    return reference


@compiled
def _trimmed_mean(flux, count):  # type: ignore[no-untyped-def]
    """Return the means without the lowest and highest fifth of successive runs of ``flux``."""
    mean = np.empty(len(count), np.float64)
    end = 0
    for i in range(len(count)):
        begin, end = end, end + count[i]
        trimmed = count[i] // 5
        mean[i] = np.sort(flux[begin:end])[trimmed : count[i] - trimmed].mean()
    return mean


def _reference_noise(
    visits: Visits,
    reference: npt.NDArray[np.float64],
    observatory: Observatory,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draw the noise of the reference images and return it with its error, [n, rows of BANDS]."""
    n = len(reference)
    low, high = observatory.programme.reference_epochs
    epochs = rng.uniform(low, high, (n, 1))
    cell = visits.source * len(BANDS) + visits.band
    count = np.bincount(cell, minlength=reference.size)
    depth = np.bincount(cell, visits.depth, reference.size) / np.maximum(count, 1)
    zero = np.zeros(reference.size)
    error = observatory.error(depth, reference.ravel(), zero, zero).reshape(reference.shape)
    error = error / np.sqrt(epochs)
    return rng.standard_normal(reference.shape) * error, error


def _ranges(
    begin: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return owner and index of all integers in n half-open ranges, both [m]."""
    length = stop - begin
    owner = np.repeat(np.arange(len(begin)), length)
    before = np.cumsum(length) - length
    return owner, np.arange(len(owner)) + (begin - before)[owner]


def _public(
    source: npt.NDArray[np.int64],
    exposure: npt.NDArray[np.int64],
    n: int,
    observatory: Observatory,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Choose the exposures of the public programme, whole nights at a time, [m]."""
    programme, cadence = observatory.programme, observatory.cadence
    band = cadence.band[exposure]
    has_band = (rng.random((n, len(BANDS))) < observatory.rarity)[source, band]
    if programme.nights == (1.0, 1.0):
        return np.asarray(has_band)
    night = np.floor(cadence.mjd[exposure]).astype(np.int64)
    number, repeated = _nights(source, night, band, len(BANDS))
    nights = number[-1] + 1 if len(number) else 0
    keep = rng.random(nights)[number] < rng.uniform(*programme.nights, n)[source]
    keep &= ~repeated | (rng.random(len(source)) < rng.uniform(*programme.repeats, n)[source])
    return np.asarray(keep & has_band)


@compiled
def _nights(source, night, band, n_bands):  # type: ignore[no-untyped-def]
    """Return the number of the night, [m], and whether its band had an exposure before, [m]."""
    number = np.empty(len(source), np.int64)
    repeated = np.empty(len(source), np.bool_)
    latest = np.full(n_bands, -1, np.int64)
    current = -1
    for j in range(len(source)):
        if j == 0 or source[j] != source[j - 1] or night[j] != night[j - 1]:
            current += 1
        number[j] = current
        repeated[j] = latest[band[j]] == current
        latest[band[j]] = current
    return number, repeated
