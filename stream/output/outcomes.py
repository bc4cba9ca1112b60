"""The outcomes of one batch of messages: one row per alert and per refused message.

Notation: N messages, n alerts in them, r refused messages, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.bundle import Bundle
from stream.alerts import AlertBatch, MessageBatch
from stream.output.pieces import Column
from stream.output.schema import arrow_schema

__all__ = ["Outcomes", "is_date"]

_SCHEMA: Final = arrow_schema()
_OUTCOMES: Final = pa.array(["not_classified", "classified"], pa.string())
_LAST_MS: Final = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of a `MessageBatch`."""

    messages: MessageBatch
    alerts: AlertBatch
    n_observations: npt.NDArray[np.int64]
    """[n] usable observations."""
    reason: pa.DictionaryArray
    """[n] values of `NotClassifiedReason`; null = classified."""
    classified: npt.NDArray[np.int64]
    """[c] rows of the alerts that were classified."""
    probabilities: npt.NDArray[np.float32]
    """[c, K]"""
    ood_score: npt.NDArray[np.float32]
    """[n] NaN for alerts that the model was not asked about."""
    bundle: Bundle
    """The model that answered."""
    publish_ms: int
    """When these outcomes were complete, Unix ms."""
    duplicate: npt.NDArray[np.bool_] | None = None
    """[n] the alert id came before in another message; None where that is not looked for."""

    @property
    def n_refused(self) -> int:
        """Return the number of messages that became dead letters."""
        return len(self.alerts.refused)

    @property
    def predicted(self) -> pa.DictionaryArray:
        """Return the most probable class of each of the c classified alerts."""
        best = self.probabilities.argmax(axis=1)
        return pa.DictionaryArray.from_arrays(best, self._class_names())

    def alert_columns(self) -> dict[str, Column]:
        """Return the records of the n alerts as one column for each field of the output schema.

        What is the same in all of them is a scalar.
        """
        manifest = self.bundle.manifest
        outcome = np.zeros(len(self.alerts), np.int8)
        outcome[self.classified] = 1
        return _in_schema(
            {
                "outcome": pa.DictionaryArray.from_arrays(outcome, _OUTCOMES),
                "reason": self.reason,
                "alert_id": self.alerts.alert_id,
                "source_id": self.alerts.source_id,
                "object_id": self.alerts.object_id,
                "survey": self.alerts.survey,
                "n_observations": self.n_observations,
                "observation_time": _times(self.alerts.observation_ms),
                "model_name": manifest.name,
                "model_version": manifest.version,
                "model_sha256": self.bundle.sha256,
                "probabilities": self._probabilities(),
                "ood_score": pa.array(self.ood_score, mask=np.isnan(self.ood_score)),
                "duplicate": self.duplicate,
                **self._origin(self.alerts.message),
            }
        )

    def alert_table(self) -> pa.Table:
        """Return the records of the n alerts, in the output schema."""
        return _table(self.alert_columns(), len(self.alerts))

    def dead_letter_table(self) -> pa.Table:
        """Return the records of the r refused messages, in the output schema."""
        refused = self.alerts.refused
        columns = _in_schema(
            {
                "outcome": "dead_letter",
                "reason": pa.array([str(reason) for reason in refused.reason], pa.string()),
                "error": pa.array(refused.error, pa.string()),
                "payload": pa.array(
                    [self.messages.payload(i) for i in refused.message], pa.binary()
                ),
                **self._origin(np.asarray(refused.message, np.int32)),
            }
        )
        return _table(columns, len(refused))

    def _origin(self, message: npt.NDArray[np.int32]) -> dict[str, object]:
        return {
            "alert_time": _times(self.messages.timestamp_ms[message]),
            "ingest_time": self.messages.ingest_ms,
            "publish_time": self.publish_ms,
            "topic": self.messages.topics().take(pa.array(message)),
            "partition": self.messages.partition[message],
            "offset": self.messages.offset[message],
        }

    def _class_names(self) -> pa.StringArray:
        return pa.array([c.name for c in self.bundle.manifest.classes], pa.string())

    def _probabilities(self) -> pa.MapArray:
        """Return a map class -> probability for every alert, null where not classified."""
        # The rows of `probabilities` follow `classified`, which is in order of the alerts.
        c, k = self.probabilities.shape
        count = np.zeros(len(self.alerts), np.int32)
        count[self.classified] = k
        offsets = np.zeros(len(self.alerts) + 1, np.int32)
        np.cumsum(count, out=offsets[1:])
        # A null offset makes a null map.
        null = np.append(count == 0, False)
        keys = self._class_names().take(pa.array(np.tile(np.arange(k), c)))
        values = pa.array(self.probabilities.ravel(), pa.float32())
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32(), mask=null), keys, values)


def is_date(unix_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which times are dates from 1970 to 9999; senders may write anything."""
    return (unix_ms >= 0) & (unix_ms <= _LAST_MS)


def _times(unix_ms: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(unix_ms, pa.int64(), mask=~is_date(unix_ms)).view(pa.timestamp("ms", tz="UTC"))


def _in_schema(values: Mapping[str, object]) -> dict[str, Column]:
    """Return a column for each field of the output schema, null where there is no value."""
    return {field.name: _column(values.get(field.name), field.type) for field in _SCHEMA}


def _column(values: object, kind: pa.DataType) -> Column:
    if isinstance(values, pa.DictionaryArray):
        return values
    if isinstance(values, np.ndarray):
        values = pa.array(values)
    if not isinstance(values, pa.Array):
        return pa.scalar(values, kind)
    return values if values.type == kind else values.cast(kind)


def _table(columns: Mapping[str, Column], n: int) -> pa.Table:
    arrays = [
        pa.repeat(column, n) if isinstance(column, pa.Scalar) else column.cast(field.type)
        for field, column in zip(_SCHEMA, columns.values(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)
