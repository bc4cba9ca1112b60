"""When a survey looks at its sources.

Notation: n sources, m observations, rows of `models.lightcurve.BANDS`.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled
from models.lightcurve import BANDS
from models.simulate.noise import flux_of_magnitude
from models.simulate.observatory import Observatory

__all__ = ["MARGIN_DAYS", "Visits", "visit"]

MARGIN_DAYS: Final = 30.0
"""Observed before and after the window of a source: what a ZTF alert looks back."""
_LATITUDE_SCALE_DEG: Final = 20.0


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
