"""The surveys that can be simulated: exposures, errors, saturation, public programme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import BANDS
from models.simulate.cadence import Cadence, load_cadence
from models.simulate.noise import flux_of_magnitude, lsst_error, ztf_error

__all__ = ["PROGRAMMES", "Observatory", "Programme", "open_observatory"]

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
    detection_snr: tuple[float, float]
    """S/N of the photometry at which an exposure detects a source: mean and standard deviation."""
    faintest_snr: float
    """Least S/N of a detection."""
    missed: tuple[float, float]
    """Range of the fraction of an object's detections that no alert is made of."""
    sky_errors: bool = False
    """Whether what is no detection has the error of the sky alone."""
    scatter: tuple[float, float] = (1.0, 1.0)
    """Range of the true noise of an object's measurements in units of the error reported."""
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
        detection_snr=(4.3, 0.8),
        faintest_snr=2.7,
        missed=(0.0, 0.3),
        sky_errors=True,
        scatter=(0.35, 0.75),
        nights=(0.25, 0.8),
        repeats=(0.0, 0.2),
        rare_bands={"i": 0.08},
    ),
    "lsst": Programme(
        saturation_mag={"u": 15.0, "g": 16.0, "r": 16.0, "i": 16.0, "z": 15.5, "y": 15.0},
        reference_epochs=(5, 15),
        bad_subtractions=0.004,
        detection_snr=(5.0, 0.5),
        faintest_snr=3.0,
        missed=(0.0, 0.05),
    ),
}
"""Survey -> its programme.

ZTF: Bellm et al. 2019 (PASP 131, 018002; public g, r every 3 and later 2 nights, each band once
a night; public alerts have no i, which is kept for a few); saturation Masci et al. 2019. An alert
needs S/N 5 of the matched filter, not of the photometry that it reports, whose error is about
twice the scatter: of 22,640 detections of real SNe Ia 9 % have an S/N below 5 and 1 % one below
3.3, and in each range of S/N from 3 to 30 measurements scatter about the line between those of
nights before and after by .45 to .55 of their errors; so do two of one night in real alerts. Limits
are of the image's noise alone, and forced fluxes of real alerts are significant in exposures that
made no alert. LSST: saturation of 30 s visits of the Science Requirements Document (LPM-17),
about 16 mag; that its detections are not quite those of the photometry's S/N is an assumption.
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
