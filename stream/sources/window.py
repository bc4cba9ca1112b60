"""The messages that topics got between two times, read once, in a group of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from models.errors import ConfigurationError
from stream.alerts import MessageBatch
from stream.clock import Clock, system_clock
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.sources.gate import SchemaGate
from stream.sources.kafka import KafkaSource
from stream.sources.night import NIGHT, nights_between, topics_of

__all__ = ["TimeWindow", "WindowSource"]

log = structlog.get_logger()

_ANSWER_S: Final = 30.0

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Times that messages were appended at, Unix ms: from the first on, before the second."""

    from_ms: int | None = None
    """None: from the beginning of the topics."""
    until_ms: int | None = None
    """None: to what is there at the start."""

    def __post_init__(self) -> None:
        if None not in (self.from_ms, self.until_ms) and self.from_ms >= self.until_ms:  # type: ignore[operator]
            raise ConfigurationError(
                "--until is not later than --from: name a time after it", self.until_ms
            )

    def options(self, options: KafkaOptions) -> KafkaOptions:
        """Return those of a replay, under names that are the same for the same window.

        Under a name of production's, a replay would take its partitions or fence its producer.
        """
        transactional_id = options.transactional_id
        return replace(
            options,
            group_id=self._name(options.group_id),
            group_instance_id=None,
            transactional_id=transactional_id and self._name(transactional_id),
        )

    def _name(self, of: str) -> str:
        return f"{of}-replay-{_bound(self.from_ms)}-{_bound(self.until_ms)}"


class WindowSource(KafkaSource):
    """A source over a `TimeWindow`; ends when every partition was read to the window's end.

    All partitions are read by this process. Offsets are committed to the window's own
    group, so that a replay that was interrupted goes on where it was.
    """

    def __init__(
        self,
        options: KafkaOptions,
        topics: Sequence[str],
        window: TimeWindow,
        metrics: Metrics,
        clock: Clock = system_clock,
        gate: SchemaGate | None = None,
    ) -> None:
        own = window.options(options)
        own = replace(own, consumer={**own.consumer, "enable.partition.eof": True})
        self._group = own.group_id
        super().__init__(own, list(topics), metrics, clock, gate)
        self._window = window
        self._end: dict[Place, int] = {}
        """Offset behind the last message of the window, of partitions that have any."""
        self._next: dict[Place, int] = {}
        """Offset behind the last message handed out, or behind the last one there is."""
        self._reached: dict[Place, int] = {}
        """Ends of partitions that were met in this poll."""

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next messages of the window, None when there are no more."""
        if not self._joined:
            self._join()
        if all(self._next.get(place, -1) >= end for place, end in self._end.items()):
            return None
        batch = super().poll(max_messages, wait_s)
        assert batch is not None
        rows = [i for i in range(len(batch)) if self._is_inside(batch, i)]
        self._note_ends()
        return batch if len(rows) == len(batch) else batch.take(rows)

    def rewind(self, messages: MessageBatch) -> None:
        """Read these messages again."""
        for place in zip(messages.topic, messages.partition.tolist(), strict=True):
            self._next.pop(place, None)
            self._reached.pop(place, None)
        super().rewind(messages)

    def _is_inside(self, batch: MessageBatch, row: int) -> bool:
        """Tell whether a message belongs to the window, and note how far its partition is."""
        place, offset = (batch.topic[row], int(batch.partition[row])), int(batch.offset[row])
        self._next[place] = max(self._next.get(place, 0), offset + 1)
        return offset < self._end.get(place, -1)

    def _note_ends(self) -> None:
        """Take note of partitions that were read to their end, which may lie within the window."""
        for place, offset in self._reached.items():
            # The last messages may be held back: then the end is met again, after them.
            if self._gate is None or not self._gate.holds(place):
                self._next[place] = max(self._next.get(place, 0), offset)
        self._reached.clear()

    def _is_data(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            place = (message.topic() or "", message.partition() or 0)
            self._reached[place] = message.offset() or 0
        return super()._is_data(message)

    def _join(self) -> None:
        try:
            places = self._places()
            starts, ends = self._bounds(places)
            self._consumer.assign(starts)
        except KafkaException as error:
            raise ConfigurationError(
                f"cannot find the messages of the time asked for: {error.args[0].str()}",
                self._topics,
            ) from error
        self._end = {
            (end.topic, end.partition): end.offset
            for start, end in zip(starts, ends, strict=True)
            if start.offset < end.offset
        }
        self._on_assign(self._consumer, starts)
        self._joined = True
        n = sum(e.offset - s.offset for s, e in zip(starts, ends, strict=True) if e.offset > 0)
        log.info("replay", group=self._group, partitions=len(starts), messages=n)

    def _places(self) -> list[TopicPartition]:
        """Return the partitions of all topics that are meant; `ConfigurationError` if none."""
        known = self._consumer.list_topics(timeout=_ANSWER_S).topics
        from_ms = self._window.from_ms
        if from_ms is None and any(NIGHT in topic for topic in self._topics):
            raise ConfigurationError(f"topics with {NIGHT} need --from TIME", self._topics)
        until_ms = self._window.until_ms or self._clock()
        wanted = topics_of(self._topics, nights_between(from_ms or 0, until_ms))
        names = {
            name
            for topic in wanted
            for name in known
            if (re.match(topic, name) if topic.startswith("^") else name == topic)
        }
        if not names:
            raise ConfigurationError(
                f"none of the topics exists: {', '.join(wanted)[:300]}", self._topics
            )
        return [TopicPartition(name, p) for name in sorted(names) for p in known[name].partitions]

    def _bounds(
        self, places: list[TopicPartition]
    ) -> tuple[list[TopicPartition], list[TopicPartition]]:
        """Return where to begin and where to end in each partition."""
        marks = [
            self._consumer.get_watermark_offsets(place, timeout=_ANSWER_S, cached=False)
            for place in places
        ]
        low, high = ([mark[side] for mark in marks] for side in (0, 1))
        begin = self._at_time(places, self._window.from_ms, low, high)
        end = self._at_time(places, self._window.until_ms, high, high)
        done = [p.offset for p in self._consumer.committed(places, timeout=_ANSWER_S)]
        return (
            [
                TopicPartition(p.topic, p.partition, max(b, d))
                for p, b, d in zip(places, begin, done, strict=True)
            ],
            [TopicPartition(p.topic, p.partition, e) for p, e in zip(places, end, strict=True)],
        )

    def _at_time(
        self,
        places: list[TopicPartition],
        unix_ms: int | None,
        unset: list[int],
        after_all: list[int],
    ) -> list[int]:
        """Return the first offset of each partition that is not older than a time."""
        if unix_ms is None:
            return unset
        asked = [TopicPartition(p.topic, p.partition, unix_ms) for p in places]
        found = self._consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        return [p.offset if p.offset >= 0 else e for p, e in zip(found, after_all, strict=True)]


def _bound(unix_ms: int | None) -> str:
    return "all" if unix_ms is None else str(unix_ms)
