"""Hold back the partitions whose next message needs a schema that is not known yet.

Nothing is kept in memory: the partition is paused at that message, which is read again
when its schema came or was waited for long enough. What stood before it is handed on, and
other partitions go on.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Protocol

import structlog

from stream.alerts import MessageBatch
from stream.avro import confluent, keyed
from stream.avro.lookups import SchemaLookups
from stream.metrics import Metrics

__all__ = ["Partitions", "SchemaGate"]

log = structlog.get_logger()

_PATIENCE_S: Final = 0.2
"""A registry that is well answers sooner, and no partition needs to be paused."""
_HEADER: Final = 5

Place = tuple[str, int]
"""Topic and partition."""


class Partitions(Protocol):
    """What reads partitions and can stop at one message of them."""

    def hold(self, topic: str, partition: int, offset: int) -> None:
        """Hand out nothing from this offset on until `release`."""
        ...

    def release(self, topic: str, partition: int) -> None:
        """Go on where a partition was held."""
        ...


class SchemaGate:
    """Lets messages pass whose schema can be looked up in memory."""

    def __init__(self, lookups: SchemaLookups, metrics: Metrics) -> None:
        self._lookups = lookups
        self._metrics = metrics
        self._held: dict[Place, int] = {}
        """Partitions, and the schema id that each of them waits for."""

    def admit(self, messages: MessageBatch, partitions: Partitions) -> MessageBatch:
        """Return the messages that need not wait, and hold the partitions of the others.

        To be called at every poll, also with no messages: it lets held partitions go.
        """
        self._let_go(partitions)
        rows = _rows_by_id(messages)
        waiting = self._lookups.waiting(rows, _PATIENCE_S) if rows else set()
        if not waiting:
            return messages
        first: dict[Place, tuple[int, int]] = {}
        for schema_id in waiting:
            for row in rows[schema_id]:
                place = (messages.topic[row], int(messages.partition[row]))
                first[place] = min(first.get(place, (row, schema_id)), (row, schema_id))
        for place, (row, schema_id) in first.items():
            self._hold(place, int(messages.offset[row]), schema_id, partitions)
        places = zip(messages.topic, messages.partition.tolist(), strict=True)
        end = len(messages)
        return messages.take([i for i, p in enumerate(places) if i < first.get(p, (end, 0))[0]])

    def holds(self, place: Place) -> bool:
        """Tell whether a partition waits."""
        return place in self._held

    def _hold(self, place: Place, offset: int, schema_id: int, partitions: Partitions) -> None:
        partitions.hold(*place, offset)
        if self._held.get(place) != schema_id:
            log.warning(
                "partition waits for a schema", place=place, offset=offset, schema_id=schema_id
            )
        self._held[place] = schema_id
        self._metrics.held_partitions.set(len(self._held))

    def _let_go(self, partitions: Partitions) -> None:
        if not self._held:
            return
        waiting = self._lookups.waiting(set(self._held.values()))
        for place, schema_id in list(self._held.items()):
            if schema_id not in waiting:
                del self._held[place]
                partitions.release(*place)
                log.info("partition goes on", place=place, schema_id=schema_id)
        self._metrics.held_partitions.set(len(self._held))


def _rows_by_id(messages: MessageBatch) -> dict[int, list[int]]:
    """Return the rows of messages in Confluent framing by schema id."""
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, value in enumerate(messages.values):
        framed = value[:1] == confluent.MAGIC and len(value) >= _HEADER
        if framed and not keyed.is_schema(messages.keys[row]):
            rows[int.from_bytes(value[1:_HEADER], "big")].append(row)
    return dict(rows)
