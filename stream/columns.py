"""Alerts while they are decoded: columns that grow, and shrink back when a message fails."""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from models.lightcurve import LightCurves
from stream.alerts import MJD_UNIX_EPOCH, AlertBatch, RefusedMessages

__all__ = ["AlertColumns", "Mark"]

_MS_PER_DAY: Final = 86_400_000


class Mark(NamedTuple):
    """How long the columns were at some moment."""

    alerts: int
    observations: int


class AlertColumns:
    """n alerts and their m observations, one array per column."""

    def __init__(self) -> None:
        self._message = array("i")
        self._survey: list[str] = []
        self._alert_id = array("q")
        self._source_id = array("q")
        self._object_id: list[str] = []
        self._trigger_mjd = array("d")
        self._utc_offset_ms = array("q")
        self._solar_system = array("b")
        self._curve = array("q")
        self._mjd = array("d")
        self._band = array("B")
        self._flux = array("d")
        self._flux_err = array("d")
        self._rank = array("B")

    def add_alert(
        self,
        alert_id: int,
        source_id: int,
        object_id: str,
        trigger_mjd: float,
        *,
        solar_system: bool,
        utc_offset_ms: int = 0,
    ) -> None:
        """Begin an alert; ``utc_offset_ms`` is the survey's time scale minus UTC."""
        self._alert_id.append(alert_id)
        self._source_id.append(source_id)
        self._object_id.append(object_id)
        self._trigger_mjd.append(trigger_mjd)
        self._utc_offset_ms.append(utc_offset_ms)
        self._solar_system.append(solar_system)

    def add_observation(
        self, mjd: float, band: int, flux: float, flux_err: float, rank: int
    ) -> None:
        """Add an observation (days, row of `BANDS`, nJy, nJy) to the alert begun last."""
        self._curve.append(len(self._alert_id) - 1)
        self._mjd.append(mjd)
        self._band.append(band)
        self._flux.append(flux)
        self._flux_err.append(flux_err)
        self._rank.append(rank)

    def end_alert(self, message: int, survey: str) -> None:
        """Finish the alert begun last: it came out of this message of the batch."""
        self._message.append(message)
        self._survey.append(survey)

    def mark(self) -> Mark:
        """Return the present length, to `cut_back` to."""
        return Mark(len(self._alert_id), len(self._mjd))

    def cut_back(self, mark: Mark) -> None:
        """Forget everything that was added after the mark."""
        for alerts in (
            self._message,
            self._survey,
            self._alert_id,
            self._source_id,
            self._object_id,
            self._trigger_mjd,
            self._utc_offset_ms,
            self._solar_system,
        ):
            del alerts[mark.alerts :]
        for observations in (
            self._curve,
            self._mjd,
            self._band,
            self._flux,
            self._flux_err,
            self._rank,
        ):
            del observations[mark.observations :]

    def to_batch(self, refused: RefusedMessages) -> AlertBatch:
        """Return the columns as a batch, its light curves sorted and without duplicates."""
        trigger_mjd = np.array(self._trigger_mjd, np.float64)
        unix_ms = np.rint((trigger_mjd - MJD_UNIX_EPOCH) * _MS_PER_DAY).astype(np.int64)
        return AlertBatch(
            curves=self._light_curves(),
            alert_id=np.array(self._alert_id, np.int64),
            source_id=np.array(self._source_id, np.int64),
            object_id=pa.array(self._object_id, pa.string()),
            survey=self._survey,
            trigger_mjd=trigger_mjd,
            observation_ms=unix_ms - np.array(self._utc_offset_ms, np.int64),
            solar_system=np.array(self._solar_system, np.bool_),
            message=np.array(self._message, np.int32),
            refused=refused,
        )

    def _light_curves(self) -> LightCurves:
        # A flux beyond float32 becomes inf, and is then dropped like any other that is not finite.
        with np.errstate(over="ignore"):
            flux = np.array(self._flux, np.float64).astype(np.float32)
            flux_err = np.array(self._flux_err, np.float64).astype(np.float32)
        return LightCurves.from_observations(
            curve=np.array(self._curve, np.int64),
            mjd=np.array(self._mjd, np.float64),
            band=np.array(self._band, np.uint8),
            flux=flux,
            flux_err=flux_err,
            rank=np.array(self._rank, np.uint8),
            n_curves=len(self._alert_id),
        )
