"""What a survey's module provides, and what it makes of decoded tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.avro.projection import AlertSchema, RecordFields
from stream.avro.tables import Rows

__all__ = ["MAX_ABS_MJD", "MAX_ID_LENGTH", "Observations", "Survey", "SurveyAlerts"]

MAX_ABS_MJD: Final = 1e10
"""Times beyond, in days, do not fit the milliseconds of an int64."""

MAX_ID_LENGTH: Final = 256
"""Characters of the longest object id that is taken."""


class Observations(NamedTuple):
    """m observations of n alerts, in any order."""

    alert: npt.NDArray[np.int64]
    """[m] row of the alert."""
    mjd: npt.NDArray[np.float64]
    """[m] days."""
    band: npt.NDArray[np.uint8]
    """[m] row of `models.lightcurve.BANDS`."""
    flux: npt.NDArray[np.float64]
    """[m] nJy."""
    flux_err: npt.NDArray[np.float64]
    """[m] nJy."""
    rank: npt.NDArray[np.uint8]
    """[m] `DETECTION`, `FORCED` or `UPPER_LIMIT`."""

    @classmethod
    def where(
        cls,
        good: npt.NDArray[np.bool_],
        alert: npt.NDArray[np.integer],
        mjd: npt.NDArray[np.float64],
        band: npt.NDArray[np.float64],
        flux: npt.NDArray[np.float64],
        flux_err: npt.NDArray[np.float64],
        rank: npt.NDArray[np.uint8] | int,
    ) -> Observations:
        """Return the observations of the rows where ``good`` is True, as columns of their types."""
        ranks = np.broadcast_to(np.uint8(rank) if isinstance(rank, int) else rank, good.shape)
        return cls(
            alert[good].astype(np.int64),
            mjd[good],
            band[good].astype(np.uint8),
            flux[good],
            flux_err[good],
            ranks[good],
        )

    def of(self, alert: npt.NDArray[np.int64]) -> Observations:
        """Return the observations with other rows as their alerts; negative ones are left out."""
        if not len(alert) or alert.min() >= 0:
            return self._replace(alert=alert)
        good = alert >= 0
        return Observations(
            alert[good],
            self.mjd[good],
            self.band[good],
            self.flux[good],
            self.flux_err[good],
            self.rank[good],
        )


@dataclass(frozen=True, slots=True)
class SurveyAlerts:
    """n alerts out of one survey's tables. Rows that are not usable hold arbitrary values."""

    alert_id: npt.NDArray[np.int64]
    """[n]"""
    source_id: npt.NDArray[np.int64]
    """[n] the triggering source."""
    object_id: pa.StringArray
    """[n]"""
    trigger_mjd: npt.NDArray[np.float64]
    """[n] time of the triggering observation in the survey's time scale, days."""
    solar_system: npt.NDArray[np.bool_]
    """[n] the source is a known solar-system object."""
    observations: Sequence[Observations]
    """Nothing later than the trigger; of equal ones, the first stays."""


class Survey(Protocol):
    """How one survey's alerts are recognised and what their fields mean."""

    @property
    def name(self) -> str:
        """Return the name in outputs, settings and `models.lightcurve.BANDS`."""

    @property
    def utc_offset_ms(self) -> int:
        """Return the survey's time scale minus UTC, milliseconds."""

    @property
    def night_offset_ms(self) -> int:
        """Return how long after midnight UTC the date of the survey's nights changes, ms."""

    @property
    def uses(self) -> Sequence[RecordFields]:
        """Return the fields that `read` needs."""

    def recognises(self, schema: AlertSchema) -> bool:
        """Tell by the structure of a schema whether it describes this survey's alerts."""

    def read(self, rows: Mapping[str, Rows]) -> SurveyAlerts:
        """Return the alerts of the tables, by their path: ``""`` is the table of alerts.

        Fields of an alert that are read must be usable, or its message is refused; entries of
        a history that are not are left out.
        """
