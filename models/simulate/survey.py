"""How a survey turns sources into difference-image light curves.

Every exposure of the observed window becomes a measured difference flux with its
error; what of them an alert would carry is decided later (`models.augment`).

Notation: n sources, m observations, B bands of the survey, E reference epochs.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.lightcurve import BANDS, LightCurves
from models.simulate.dust import COEFFICIENTS, draw_reddening
from models.simulate.observatory import Observatory
from models.simulate.source import REFERENCE_DAYS, Sources
from models.simulate.visits import MARGIN_DAYS, Visits, visit

__all__ = ["GENUINE_SNR", "measure", "observe"]

GENUINE_SNR: Final = 3.0
"""A detection of a true difference below this many sigma is called noise."""
_REFERENCE_GAP_DAYS: Final = (20.0, 400.0)
_REFERENCE_SPAN_DAYS: Final = (40.0, 500.0)
_SCATTER: Final = 0.25  # of the quality of subtractions, natural logarithm
_WORSE: Final = (2.0, 5.0)


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
    scatter = rng.uniform(*observatory.programme.scatter, len(reference))[source]
    noise = scatter * (noise * independent - offset[source, band])
    flux = (difference + noise).astype(np.float32)
    needed = rng.normal(*observatory.programme.detection_snr, len(source))
    needed = np.maximum(needed, observatory.programme.faintest_snr)
    missed = rng.uniform(*observatory.programme.missed, len(reference))[source]
    detected = (np.abs(flux) >= needed * error) & (rng.random(len(source)) >= missed)
    keep = np.maximum(total, reference_flux) < observatory.saturation[band]
    genuine = np.abs(difference) >= GENUINE_SNR * scatter * error
    if observatory.programme.sky_errors:
        error = np.where(detected, error, visits.depth / 5)
    return _curves(visits, flux, error.astype(np.float32), detected, keep), genuine[keep]


def _curves(
    visits: Visits,
    flux: npt.NDArray[np.float32],
    error: npt.NDArray[np.float32],
    detected: npt.NDArray[np.bool_],
    keep: npt.NDArray[np.bool_],
) -> LightCurves:
    splits = np.zeros(len(visits.reference_mjd) + 1, np.int64)
    np.cumsum(np.bincount(visits.source[keep], minlength=len(splits) - 1), out=splits[1:])
    return LightCurves(
        splits, visits.mjd[keep], visits.band[keep], flux[keep], error[keep], detected[keep]
    )


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
