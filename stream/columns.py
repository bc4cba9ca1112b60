"""The alerts of a batch while it is decoded: parts of columns, joined at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.lightcurve import LightCurves
from stream.alerts import MJD_UNIX_EPOCH, AlertBatch, RefusedMessages, RefusedReason
from stream.avro.tables import Rows
from stream.refusal import Refusal
from stream.surveys.survey import Observations, Survey, SurveyAlerts

__all__ = ["AlertColumns"]

_MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class _Part:
    """Alerts that one survey read at once."""

    survey: Survey
    alerts: SurveyAlerts
    message: npt.NDArray[np.int64]
    """[n] row in the `MessageBatch`."""


class AlertColumns:
    """Alerts and refusals of a `MessageBatch` of ``n_messages``, in any order."""

    def __init__(self, n_messages: int) -> None:
        self._parts: list[_Part] = []
        self._refusals: dict[int, Refusal] = {}
        self._n_messages = n_messages

    def add(self, survey: Survey, rows: dict[str, Rows]) -> None:
        """Take the alerts of a survey's tables, and refuse the messages of unusable ones."""
        alerts = survey.read(rows)
        own = rows[""]
        self._parts.append(_Part(survey, alerts, own.parent.astype(np.int64)))
        for row in np.flatnonzero(~own.usable).tolist():
            self.refuse(
                int(own.parent[row]), Refusal(RefusedReason.INVALID_FIELD, own.problem(row))
            )

    def refuse(self, message: int, refusal: Refusal) -> None:
        """Refuse a message with all its alerts; the first reason stays."""
        self._refusals.setdefault(message, refusal)

    def to_batch(self) -> AlertBatch:
        """Return the alerts of all messages that were not refused, in order of the messages."""
        names = [part.survey.name for part in self._parts]
        sizes = [len(part.message) for part in self._parts]
        message = _joined([part.message for part in self._parts], np.int64)
        refused = np.zeros(self._n_messages, np.bool_)
        refused[list(self._refusals)] = True
        order = np.argsort(message, kind="stable")
        order = order[~refused[message[order]]]
        of_part = np.repeat(np.arange(len(names), dtype=np.int32), sizes)[order]
        alerts = [part.alerts for part in self._parts]
        trigger_mjd = _joined([a.trigger_mjd for a in alerts], np.float64)[order]
        offset_ms = np.array([part.survey.utc_offset_ms for part in self._parts], np.int64)
        return AlertBatch(
            curves=self._light_curves(order, sizes),
            alert_id=_joined([a.alert_id for a in alerts], np.int64)[order],
            source_id=_joined([a.source_id for a in alerts], np.int64)[order],
            object_id=_texts([a.object_id for a in alerts]).take(pa.array(order)),
            survey=pa.DictionaryArray.from_arrays(of_part, pa.array(names, pa.string())),
            trigger_mjd=trigger_mjd,
            observation_ms=_unix_ms(trigger_mjd) - offset_ms[of_part],
            solar_system=_joined([a.solar_system for a in alerts], np.bool_)[order],
            message=message[order].astype(np.int32),
            refused=self._refused(),
        )

    def _light_curves(self, order: npt.NDArray[np.int64], sizes: list[int]) -> LightCurves:
        """Return the curves of the alerts that ``order`` names, in that order."""
        n = int(sum(sizes))
        curve_of = np.full(n, -1)
        curve_of[order] = np.arange(len(order))
        first = np.cumsum([0, *sizes])
        parts: list[Observations] = []
        for part, start in zip(self._parts, first, strict=False):
            for observations in part.alerts.observations:
                parts.append(observations.of(curve_of[start + observations.alert]))
        flux = _joined([o.flux for o in parts], np.float64)
        flux_err = _joined([o.flux_err for o in parts], np.float64)
        # A flux beyond float32 becomes inf, and is then dropped like any other that is not finite.
        with np.errstate(over="ignore"):
            return LightCurves.from_observations(
                curve=_joined([o.alert for o in parts], np.int64),
                mjd=_joined([o.mjd for o in parts], np.float64),
                band=_joined([o.band for o in parts], np.uint8),
                flux=flux.astype(np.float32),
                flux_err=flux_err.astype(np.float32),
                rank=_joined([o.rank for o in parts], np.uint8),
                n_curves=len(order),
            )

    def _refused(self) -> RefusedMessages:
        refused = RefusedMessages()
        for message, refusal in sorted(self._refusals.items()):
            refused.add(message, refusal.reason, refusal.error)
        return refused


_Item = TypeVar("_Item", bound=np.generic)


def _joined(parts: list[npt.NDArray[_Item]], dtype: type[_Item]) -> npt.NDArray[_Item]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _texts(parts: list[pa.StringArray]) -> pa.StringArray:
    return pa.concat_arrays([pa.array([], pa.string()), *parts])


def _unix_ms(mjd: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.rint((mjd - MJD_UNIX_EPOCH) * _MS_PER_DAY).astype(np.int64)
