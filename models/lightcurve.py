"""Light curves as one ragged struct of arrays, for training and for serving.

Notation: n curves, m observations in all, P bands.

Times are MJD in days of the survey's own time scale (ZTF: UTC at the start of
the exposure, LSST: TAI at its middle); only differences within one curve are
ever used. Fluxes are difference-image fluxes in nJy (AB zero point 31.4) as
observed, not corrected for dust.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.jit import compiled

__all__ = [
    "AB_ZERO_POINT_NJY",
    "BANDS",
    "DETECTION",
    "DETECTION_SNR",
    "FORCED",
    "LOG_WAVELENGTH",
    "UPPER_LIMIT",
    "Band",
    "LightCurves",
    "band_index",
]

AB_ZERO_POINT_NJY: Final = 31.4
"""AB magnitude of a source of 1 nJy."""


class Band(NamedTuple):
    """A filter of a survey, with its effective wavelength in Angstrom."""

    survey: str
    name: str
    wavelength_aa: float

    @property
    def key(self) -> str:
        """Return the name that bundles and data sets use, for example ``lsst:g``."""
        return f"{self.survey}:{self.name}"


BANDS: Final[tuple[Band, ...]] = (
    Band("lsst", "u", 3685.0),
    Band("lsst", "g", 4802.0),
    Band("lsst", "r", 6231.0),
    Band("lsst", "i", 7542.0),
    Band("lsst", "z", 8690.0),
    Band("lsst", "y", 9736.0),
    Band("ztf", "g", 4804.79),
    Band("ztf", "r", 6436.92),
    Band("ztf", "i", 7968.22),
    Band("des", "g", 4808.49),
    Band("des", "r", 6417.65),
    Band("des", "i", 7814.58),
    Band("des", "z", 9168.85),
    Band("sdss", "u", 3556.52),
    Band("sdss", "g", 4702.50),
    Band("sdss", "r", 6175.58),
    Band("sdss", "i", 7489.98),
    Band("sdss", "z", 8946.71),
    Band("ps1", "g", 4849.11),
    Band("ps1", "r", 6201.20),
    Band("ps1", "i", 7534.96),
    Band("ps1", "z", 8674.20),
)
"""The one table of bands; `LightCurves.band` indexes it. Only ever append to it.

LSST and ZTF wavelengths as in the t2 paper (arXiv 2303.08951); those of DES (DECam),
SDSS and Pan-STARRS1 are pivot wavelengths of the SVO filter profile service.
"""

LOG_WAVELENGTH: Final = np.log(np.array([band.wavelength_aa for band in BANDS]) / 6000.0)
"""ln(effective wavelength / 6000 A) by row of `BANDS`."""

_SURVEY: Final = np.array([band.survey for band in BANDS])
_INDEX: Final = {band.key: i for i, band in enumerate(BANDS)}

DETECTION: Final = 0
"""Rank of a detection: it wins over any other value of the same exposure."""
FORCED: Final = 1
"""Rank of a forced-photometry flux."""
UPPER_LIMIT: Final = 2
"""Rank of an upper limit: flux 0, flux error one fifth of the 5-sigma limit."""

DETECTION_SNR: Final = 5.0
"""S/N above which ZTF and LSST call a difference-image source a detection."""


def band_index(survey: str, name: str) -> int:
    """Return the row of `BANDS` for a band; `DataError` when the table has no such band."""
    try:
        return _INDEX[f"{survey}:{name}"]
    except KeyError:
        raise DataError(
            f"no band {name!r} of survey {survey!r}; known: {', '.join(_INDEX)}", name
        ) from None


@dataclass(frozen=True, slots=True)
class LightCurves:
    """n light curves in flat columns; curve i is the slice ``splits[i]:splits[i + 1]``.

    Within a curve, observations are in order of time and no exposure occurs
    twice: `from_observations` makes it so, the constructor only checks shapes and
    what the kernels of `models.features` index by; `DataError` when they are wrong.
    """

    splits: npt.NDArray[np.int64]
    """[n + 1] first observation of each curve, and the end."""
    mjd: npt.NDArray[np.float64]
    """[m] days."""
    band: npt.NDArray[np.uint8]
    """[m] row of `BANDS`."""
    flux: npt.NDArray[np.float32]
    """[m] nJy."""
    flux_err: npt.NDArray[np.float32]
    """[m] nJy, > 0."""
    detected: npt.NDArray[np.bool_]
    """[m] False for forced photometry and upper limits."""
    redshift: npt.NDArray[np.float32] | None = None
    """[n] of the host galaxy, NaN where unknown; None: of no curve."""
    redshift_err: npt.NDArray[np.float32] | None = None
    """[n] its standard error, NaN where unknown."""

    def __post_init__(self) -> None:
        m = int(self.splits[-1]) if len(self.splits) else -1
        for name in ("mjd", "band", "flux", "flux_err", "detected"):
            if len(getattr(self, name)) != m:
                raise DataError(
                    f"column {name} has {len(getattr(self, name))} values, splits end at {m}", name
                )
        for column in (self.redshift, self.redshift_err):
            if column is not None and len(column) != len(self):
                raise DataError(f"{len(column)} redshifts for {len(self)} curves", len(column))
        if self.splits[0] != 0 or (np.diff(self.splits) < 0).any():
            raise DataError("splits must begin at 0 and never decrease", self.splits)
        if m and not 0 <= self.band.min() <= self.band.max() < len(BANDS):
            raise DataError(f"column band must hold rows 0 to {len(BANDS) - 1} of BANDS", self.band)

    def __len__(self) -> int:
        return len(self.splits) - 1

    @property
    def n_observations(self) -> npt.NDArray[np.int64]:
        """Return the number of observations of each curve, [n]."""
        return np.diff(self.splits)

    @property
    def survey(self) -> npt.NDArray[np.str_]:
        """Return the survey of each curve's first observation, [n]; any where it has none."""
        first = np.minimum(self.splits[:-1], max(len(self.band) - 1, 0))
        return np.asarray(_SURVEY[self.band[first]])

    @classmethod
    def from_observations(
        cls,
        curve: npt.NDArray[np.int64],
        mjd: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
        flux: npt.NDArray[np.float32],
        flux_err: npt.NDArray[np.float32],
        rank: npt.NDArray[np.uint8],
        n_curves: int,
    ) -> LightCurves:
        """Sort observations in any order into curves and keep one value per exposure.

        Values of the same curve, time and band are one exposure: the lowest
        ``rank`` (`DETECTION`, `FORCED`, `UPPER_LIMIT`) wins, the first among
        equals. Observations that are not finite or have an error <= 0 are
        dropped. All arrays are [m]; ``curve`` numbers them 0 .. n_curves - 1,
        `DataError` for any other number.
        """
        # The kernel checks no index: one out of bounds would write to foreign memory.
        if len(curve) and not 0 <= curve.min() <= curve.max() < n_curves:
            raise DataError(f"curves must be numbered 0 to {n_curves - 1}", curve)
        splits = np.zeros(n_curves + 1, np.int64)
        kept = _kept(curve, mjd, band, flux, flux_err, rank, splits)
        return cls(
            splits, mjd[kept], band[kept], flux[kept], flux_err[kept], rank[kept] == DETECTION
        )

    @classmethod
    def concatenate(cls, parts: Sequence[LightCurves]) -> LightCurves:
        """Return the curves of all parts, in their order."""
        ends = np.cumsum([0, *(len(part.mjd) for part in parts)])
        starts = [part.splits[:-1] + end for part, end in zip(parts, ends, strict=False)]
        return cls(
            splits=np.append(np.concatenate(starts), ends[-1]),
            mjd=np.concatenate([part.mjd for part in parts]),
            band=np.concatenate([part.band for part in parts]),
            flux=np.concatenate([part.flux for part in parts]),
            flux_err=np.concatenate([part.flux_err for part in parts]),
            detected=np.concatenate([part.detected for part in parts]),
            redshift=_joined([part.redshift for part in parts], parts),
            redshift_err=_joined([part.redshift_err for part in parts], parts),
        )

    def take(self, rows: npt.NDArray[np.integer]) -> LightCurves:
        """Return the curves of the given rows, in that order."""
        counts = self.n_observations[rows]
        splits = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=splits[1:])
        index = np.repeat(self.splits[:-1][rows] - splits[:-1], counts) + np.arange(splits[-1])
        return LightCurves(
            splits,
            self.mjd[index],
            self.band[index],
            self.flux[index],
            self.flux_err[index],
            self.detected[index],
            None if self.redshift is None else self.redshift[rows],
            None if self.redshift_err is None else self.redshift_err[rows],
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> LightCurves:
        """Return the same curves with only the observations where ``keep`` [m] is True."""
        total = np.zeros(len(keep) + 1, np.int64)
        np.cumsum(keep, out=total[1:])
        return LightCurves(
            total[self.splits],
            self.mjd[keep],
            self.band[keep],
            self.flux[keep],
            self.flux_err[keep],
            self.detected[keep],
            self.redshift,
            self.redshift_err,
        )


def _joined(
    columns: Sequence[npt.NDArray[np.float32] | None], parts: Sequence[LightCurves]
) -> npt.NDArray[np.float32] | None:
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [
            np.full(len(part), np.nan, np.float32) if column is None else column
            for column, part in zip(columns, parts, strict=True)
        ]
    )


@compiled
def _kept(curve, mjd, band, flux, flux_err, rank, splits):  # type: ignore[no-untyped-def]
    """Return the observations to keep, in order; write the end of each curve to ``splits``."""
    order = _by_curve(curve, mjd, flux, flux_err, splits)
    kept = np.empty(len(order), np.int64)
    best = np.full(256, -1, np.int64)
    n = 0
    for i in range(len(splits) - 1):
        members = order[splits[i] : splits[i + 1]]
        splits[i] = n
        if not _is_sorted(members, mjd):
            members = members[np.argsort(mjd[members], kind="mergesort")]
        first = 0
        while first < len(members):
            end = first + 1
            while end < len(members) and mjd[members[end]] == mjd[members[first]]:
                end += 1
            n = _keep_best(members[first:end], band, rank, best, kept, n)
            first = end
    splits[-1] = n
    return kept[:n]


@compiled
def _by_curve(curve, mjd, flux, flux_err, splits):  # type: ignore[no-untyped-def]
    """Return the usable observations, those of one curve together and in the order they came."""
    usable = np.empty(len(curve), np.bool_)
    for j in range(len(curve)):
        measured = np.isfinite(flux[j]) and np.isfinite(flux_err[j]) and flux_err[j] > 0
        usable[j] = measured and np.isfinite(mjd[j])
        splits[curve[j] + 1] += usable[j]
    for i in range(1, len(splits)):
        splits[i] += splits[i - 1]
    order = np.empty(splits[-1], np.int64)
    position = splits[:-1].copy()
    for j in range(len(curve)):
        if usable[j]:
            order[position[curve[j]]] = j
            position[curve[j]] += 1
    return order


@compiled
def _is_sorted(members, mjd):  # type: ignore[no-untyped-def]
    k = 1
    while k < len(members) and mjd[members[k - 1]] <= mjd[members[k]]:
        k += 1
    return k >= len(members)


@compiled
def _keep_best(same_time, band, rank, best, kept, n):  # type: ignore[no-untyped-def]
    """Append the best of each band of observations of one time, in order of band."""
    if len(same_time) == 1:
        kept[n] = same_time[0]
        return n + 1
    low, high = 255, 0
    for j in same_time:
        b = band[j]
        low, high = min(low, b), max(high, b)
        if best[b] < 0 or rank[j] < rank[best[b]]:
            best[b] = j
    for b in range(low, high + 1):
        if best[b] >= 0:
            kept[n] = best[b]
            best[b] = -1
            n += 1
    return n
