"""Messages off the wire and the alerts that they hold, as structs of arrays.

Notation: N messages of one poll, n alerts decoded from them, r messages refused.
A message is the unit that is accepted or refused; an accepted one holds one or
more alerts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.lightcurve import LightCurves
from stream.rows import row_as_json

if TYPE_CHECKING:
    from stream.refusal import Refusal

__all__ = [
    "MJD_UNIX_EPOCH",
    "AlertBatch",
    "Headers",
    "MessageBatch",
    "NotClassifiedReason",
    "RefusedMessages",
    "RefusedReason",
]

MJD_UNIX_EPOCH: Final = 40587.0
"""MJD of 1970-01-01T00:00."""


Headers: TypeAlias = list[tuple[str, str | bytes | None]]
"""Headers of a Kafka message, in order; a name may stand several times."""


class RefusedReason(StrEnum):
    """Why a whole message becomes a dead letter."""

    EMPTY = "empty"
    """No bytes, or a container without a record."""
    NOT_AVRO = "not_avro"
    """Neither an Avro container nor Confluent framing."""
    TOO_SHORT = "too_short"
    """Ends inside the five bytes of the Confluent framing."""
    INVALID_SCHEMA = "invalid_schema"
    """The embedded schema cannot be parsed."""
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    """No schema source knows the id in the Confluent framing."""
    SCHEMA_UNAVAILABLE = "schema_unavailable"
    """A schema source that may know the id does not answer."""
    UNSUPPORTED_SURVEY = "unsupported_survey"
    """Valid Avro, but not an alert of a survey that is switched on."""
    CORRUPT_CONTAINER = "corrupt_container"
    """Header, block or sync marker of a container is damaged."""
    CORRUPT_BODY = "corrupt_body"
    """The bytes of a record do not follow its schema."""
    TRAILING_BYTES = "trailing_bytes"
    """Bytes are left over after the end of the record."""
    INVALID_FIELD = "invalid_field"
    """A field that classification needs is missing, null or out of range."""
    CORRUPT_ARCHIVE = "corrupt_archive"
    """From here on, a tarball or Parquet file cannot be read."""
    NOT_A_FILE = "not_a_file"
    """A member of a tarball is a link or a device."""
    TOO_LARGE = "too_large"
    """A file or member is larger than any alert packet."""


class NotClassifiedReason(StrEnum):
    """Why an alert that was decoded did not get probabilities."""

    TOO_FEW_OBSERVATIONS = "too_few_observations"
    """Fewer usable observations than the model's minimum."""
    SOLAR_SYSTEM = "solar_system"
    """The source is a known solar-system object."""
    SURVEY_NOT_SUPPORTED = "survey_not_supported"
    """The model is not valid for this survey."""
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    """It looks like none of the objects that the model was trained on, for example an artefact."""


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """N messages as one poll returned them. ``topic`` is a file's path for archives."""

    values: list[bytes]
    """[N] message bytes; a Kafka tombstone is ``b""``, and in ``tombstones``."""
    keys: list[bytes | None]
    """[N]"""
    topic: list[str]
    """[N]"""
    partition: npt.NDArray[np.int32]
    """[N]"""
    offset: npt.NDArray[np.int64]
    """[N]"""
    timestamp_ms: npt.NDArray[np.int64]
    """[N] when the message was appended to its topic, Unix ms; -1 = not known."""
    ingest_ms: int
    """When this poll returned, Unix ms."""
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    """Messages, by row, that could not even be read from an archive."""
    rows: pa.RecordBatch | None = None
    """[N] alerts that an archive holds decoded, one a row; ``values`` are empty then."""
    headers: Sequence[Headers | None] = ()
    """[N], or empty where no message has any."""
    tombstones: frozenset[int] = frozenset()
    """Rows of messages without a value."""

    def __len__(self) -> int:
        return len(self.values)

    def payload(self, row: int) -> bytes | None:
        """Return what a dead letter holds of a message: its bytes, or its row as JSON."""
        if row in self.tombstones:
            return None
        return self.values[row] if self.rows is None else row_as_json(self.rows, row)

    def headers_of(self, row: int) -> Headers:
        """Return the headers that a message came with."""
        return (self.headers[row] or []) if self.headers else []

    def take(self, rows: Sequence[int]) -> MessageBatch:
        """Return some of the messages, in the order given."""
        place = {row: i for i, row in enumerate(rows)}
        chosen = np.asarray(rows, np.intp)
        return replace(
            self,
            values=[self.values[i] for i in rows],
            keys=[self.keys[i] for i in rows],
            topic=[self.topic[i] for i in rows],
            partition=self.partition[chosen],
            offset=self.offset[chosen],
            timestamp_ms=self.timestamp_ms[chosen],
            refused={place[i]: refusal for i, refusal in self.refused.items() if i in place},
            rows=None if self.rows is None else self.rows.take(pa.array(chosen)),
            headers=[self.headers[i] for i in rows] if self.headers else (),
            tombstones=frozenset(place[i] for i in self.tombstones if i in place),
        )

    def topics(self) -> pa.DictionaryArray:
        """Return ``topic`` as a column, [N]."""
        return pa.array(self.topic, pa.string()).dictionary_encode()


@dataclass(slots=True)
class RefusedMessages:
    """r messages that could not be decoded, by their row in the `MessageBatch`."""

    message: list[int] = field(default_factory=list)
    """[r]"""
    reason: list[RefusedReason] = field(default_factory=list)
    """[r]"""
    error: list[str] = field(default_factory=list)
    """[r] what is wrong and where, for a person."""

    def __len__(self) -> int:
        return len(self.message)

    def add(self, message: int, reason: RefusedReason, error: str) -> None:
        """Record that a message was refused."""
        self.message.append(message)
        self.reason.append(reason)
        self.error.append(error)


@dataclass(frozen=True, slots=True)
class AlertBatch:
    """The n alerts of a `MessageBatch`, and the messages that held none."""

    curves: LightCurves
    """n light curves: history and triggering observation, nothing later."""
    alert_id: npt.NDArray[np.int64]
    """[n] candid (ZTF), alertId or, where there is none, diaSourceId (LSST)."""
    source_id: npt.NDArray[np.int64]
    """[n] the triggering source: candid (ZTF), diaSourceId (LSST)."""
    object_id: pa.StringArray
    """[n] objectId, diaObjectId or ssObjectId as text."""
    survey: pa.DictionaryArray
    """[n] name of the survey, never null: ``ztf``, ``lsst``."""
    trigger_mjd: npt.NDArray[np.float64]
    """[n] time of the triggering observation in the survey's time scale, days."""
    observation_ms: npt.NDArray[np.int64]
    """[n] the same time in UTC, Unix ms."""
    solar_system: npt.NDArray[np.bool_]
    """[n] the source is a known solar-system object."""
    message: npt.NDArray[np.int32]
    """[n] row in the `MessageBatch`."""
    refused: RefusedMessages

    def __len__(self) -> int:
        return len(self.alert_id)
