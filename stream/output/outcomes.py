"""The outcomes of one batch of messages: one row per alert and per refused message.

Notation: N messages, n alerts in them, r refused messages, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.bundle import Bundle
from models.runtime import Predictions
from stream.alerts import AlertBatch, MessageBatch, NotClassifiedReason
from stream.output.schema import arrow_schema

__all__ = ["Outcomes", "is_date"]

_SCHEMA: Final = arrow_schema()
_LAST_MS: Final = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of a `MessageBatch`."""

    messages: MessageBatch
    alerts: AlertBatch
    n_observations: npt.NDArray[np.int64]
    """[n] usable observations."""
    reason: list[NotClassifiedReason | None]
    """[n] None = classified."""
    classified: npt.NDArray[np.int64]
    """[c] rows of the alerts that were classified."""
    predictions: Predictions
    """[c]"""
    bundle: Bundle
    """The model that answered."""
    publish_ms: int
    """When these outcomes were complete, Unix ms."""

    @property
    def n_refused(self) -> int:
        """Return the number of messages that became dead letters."""
        return len(self.alerts.refused)

    @property
    def predicted(self) -> list[str]:
        """Return the most probable class of each of the c classified alerts."""
        names = [c.name for c in self.bundle.manifest.classes]
        return [names[i] for i in self.predictions.probabilities.argmax(axis=1).tolist()]

    def alert_table(self) -> pa.Table:
        """Return the records of the n alerts, in the output schema."""
        n = len(self.alerts)
        manifest = self.bundle.manifest
        outcome = np.full(n, "not_classified", object)
        outcome[self.classified] = "classified"
        columns = {
            "outcome": outcome,
            "reason": pa.array(self.reason, pa.string()),
            "alert_id": self.alerts.alert_id,
            "source_id": self.alerts.source_id,
            "object_id": self.alerts.object_id,
            "survey": pa.array(self.alerts.survey, pa.string()),
            "n_observations": self.n_observations,
            "observation_time": _times(self.alerts.observation_ms),
            "model_name": [manifest.name] * n,
            "model_version": [manifest.version] * n,
            "model_sha256": [self.bundle.sha256] * n,
            "probabilities": self._probabilities(),
            "ood_score": self._ood_score(),
            **self._origin(self.alerts.message),
        }
        return _table(columns, n)

    def dead_letter_table(self) -> pa.Table:
        """Return the records of the r refused messages, in the output schema."""
        refused = self.alerts.refused
        columns = {
            "outcome": ["dead_letter"] * len(refused),
            "reason": [str(reason) for reason in refused.reason],
            "error": refused.error,
            "payload": [self.messages.values[i] for i in refused.message],
            **self._origin(np.asarray(refused.message, np.int32)),
        }
        return _table(columns, len(refused))

    def _origin(self, message: npt.NDArray[np.int32]) -> dict[str, object]:
        return {
            "alert_time": _times(self.messages.timestamp_ms[message]),
            "ingest_time": np.full(len(message), self.messages.ingest_ms),
            "publish_time": np.full(len(message), self.publish_ms),
            "topic": [self.messages.topic[i] for i in message],
            "partition": self.messages.partition[message],
            "offset": self.messages.offset[message],
        }

    def _probabilities(self) -> pa.MapArray:
        """Return a map class -> probability for every alert, null where not classified."""
        names = [c.name for c in self.bundle.manifest.classes]
        count = np.zeros(len(self.alerts), np.int32)
        count[self.classified] = len(names)
        offsets = np.zeros(len(self.alerts) + 1, np.int32)
        np.cumsum(count, out=offsets[1:])
        # A null offset makes a null map.
        null = np.append(count == 0, False)
        keys = pa.array(np.tile(np.array(names, object), len(self.classified)), pa.string())
        # The rows of `predictions` follow `classified`, which is in order of the alerts.
        values = pa.array(self.predictions.probabilities.ravel(), pa.float32())
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32(), mask=null), keys, values)

    def _ood_score(self) -> pa.Array:
        score = np.zeros(len(self.alerts), np.float32)
        score[self.classified] = self.predictions.ood_score
        missing = np.ones(len(self.alerts), np.bool_)
        missing[self.classified] = False
        return pa.array(score, pa.float32(), mask=missing)


def is_date(unix_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which times are dates from 1970 to 9999; senders may write anything."""
    return (unix_ms >= 0) & (unix_ms <= _LAST_MS)


def _times(unix_ms: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(unix_ms, pa.int64(), mask=~is_date(unix_ms))


def _table(columns: dict[str, object], n: int) -> pa.Table:
    arrays = []
    for field in _SCHEMA:
        values = columns.get(field.name)
        array = pa.nulls(n, field.type) if values is None else values
        if not isinstance(array, pa.Array):
            array = pa.array(array)
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)
