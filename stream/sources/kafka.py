"""Messages from Kafka topics, as a member of a consumer group."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import numpy as np
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import ConfigurationError, DeliveryError
from stream.alerts import MessageBatch
from stream.clock import Clock, system_clock
from stream.deadletter import headers_of
from stream.librdkafka import KafkaOptions, open_consumer
from stream.metrics import Metrics
from stream.sources.gate import SchemaGate

__all__ = ["KafkaSource"]

log = structlog.get_logger()

_LEAVE_S: Final = 10.0


class KafkaSource:
    """A source over topics (``^`` starts a pattern). Offsets are committed after delivery only."""

    def __init__(
        self,
        options: KafkaOptions,
        topics: list[str],
        metrics: Metrics,
        clock: Clock = system_clock,
        gate: SchemaGate | None = None,
    ) -> None:
        self._metrics = metrics
        self._gate = gate
        self._clock = clock
        self._topics = topics
        self._joined = False
        self._paused = False
        # Kept here: to ask the client takes a round trip to its own thread.
        self._own: set[tuple[str | None, int | None]] = set()
        self._lost_some = False
        self._last_ms: dict[tuple[str, int], int] = {}
        self._consumer = open_consumer(options, self._on_statistics)

    @property
    def assigned(self) -> bool:
        """True while this member has partitions."""
        return bool(self._own)

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return up to ``max_messages`` that came within ``wait_s`` seconds; never None.

        The first call joins the group.
        """
        if not self._joined:
            self._join()
        if self._paused:
            self._resume()
        self._lost_some = False
        received = self._consumer.consume(max_messages, wait_s)
        messages = [m for m in received if self._is_data(m)]
        if self._lost_some:
            # Their new owner reads them too.
            messages = [m for m in messages if (m.topic(), m.partition()) in self._own]
        batch = MessageBatch(
            values=[_bytes(m.value()) for m in messages],
            keys=[None if (key := m.key()) is None else _bytes(key) for m in messages],
            topic=[cast(str, m.topic()) for m in messages],
            partition=np.array([m.partition() for m in messages], np.int32),
            offset=np.array([m.offset() for m in messages], np.int64),
            timestamp_ms=np.array([m.timestamp()[1] for m in messages], np.int64),
            ingest_ms=self._clock(),
            headers=[headers_of(m) for m in messages],
            tombstones=frozenset(i for i, m in enumerate(messages) if m.value() is None),
        )
        self._last_ms.update(
            zip(
                zip(batch.topic, batch.partition.tolist(), strict=True),
                batch.timestamp_ms.tolist(),
                strict=True,
            )
        )
        return batch if self._gate is None else self._gate.admit(batch, self)

    def subscribe(self, topics: list[str]) -> None:
        """Read other topics from the next poll on; partitions that stay are not interrupted."""
        self._topics = topics
        self._joined = False

    def rewind(self, messages: MessageBatch) -> None:
        """Read these messages again; those of partitions that were taken away, others read."""
        first: dict[tuple[str, int], int] = {}
        for topic, partition, offset in zip(
            messages.topic, messages.partition.tolist(), messages.offset.tolist(), strict=True
        ):
            first[topic, partition] = min(first.get((topic, partition), offset), offset)
        for place, offset in first.items():
            if place in self._own:
                with _lost_partition("rewind"):
                    self._consumer.seek(TopicPartition(*place, offset))

    def hold(self, topic: str, partition: int, offset: int) -> None:
        """Hand out nothing from this offset on until `release`."""
        place = TopicPartition(topic, partition, offset)
        with _lost_partition("hold"):
            self._consumer.pause([place])
            self._consumer.seek(place)

    def release(self, topic: str, partition: int) -> None:
        """Go on where a partition was held."""
        if not self._paused:
            with _lost_partition("release"):
                self._consumer.resume([TopicPartition(topic, partition)])

    def keep_alive(self) -> None:
        """Serve the group protocol while the input is paused, so that nobody fences us."""
        if not self._paused:
            self._paused = True
            log.warning("input paused: the output does not keep up")
        # Every time, since partitions may have been added meanwhile.
        self._consumer.pause(self._consumer.assignment())
        for message in self._consumer.consume(1, 0.0):
            # It slipped in before the pause and has no place in this batch: read it again.
            if self._is_data(message):
                with _lost_partition("seek"):
                    self._consumer.seek(_origin(message))

    def commit(self, messages: MessageBatch) -> None:
        """Commit the offsets behind these messages.

        If the group's coordinator does not answer, they stay stored and go with
        the next commit.
        """
        end: dict[tuple[str, int], int] = {}
        for topic, partition, offset in zip(
            messages.topic, messages.partition.tolist(), messages.offset.tolist(), strict=True
        ):
            end[topic, partition] = max(end.get((topic, partition), 0), offset + 1)
        # A partition that was taken away meanwhile is read again by its new owner.
        offsets = [TopicPartition(*key, offset) for key, offset in end.items() if key in self._own]
        if offsets:
            with _lost_partition("store offsets"):
                self._consumer.store_offsets(offsets=offsets)
            self._commit_stored()

    def close(self) -> None:
        """Commit what is stored and leave the group, unless no broker answers in time."""
        # The library waits for brokers without a bound of its own.
        leaving = threading.Thread(target=self._leave, name="leave", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_S)
        if leaving.is_alive():
            log.warning("left without a last commit: no broker answers", waited_s=_LEAVE_S)

    def _leave(self) -> None:
        self._commit_stored()
        self._consumer.close()

    def _join(self) -> None:
        try:
            self._consumer.subscribe(
                self._topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise ConfigurationError(
                f"Kafka refuses the topics {self._topics}: {error.args[0].str()}", self._topics
            ) from error
        self._joined = True

    def _resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())
        self._paused = False
        log.info("input resumed")

    def _commit_stored(self) -> None:
        try:
            with self._metrics.stage("commit"):
                self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                log.warning("commit failed; the messages will be read again", error=str(error))

    def _is_data(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal():
            raise DeliveryError(f"the consumer was stopped by Kafka: {error.str()}", error)
        if error.code() != KafkaError._PARTITION_EOF:
            log.warning("kafka", error=error.str())
        return False

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._own.update((p.topic, p.partition) for p in partitions)
        self._metrics.rebalances.inc()
        log.info("partitions assigned", partitions=_names(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit_stored()
        self._forget(partitions)
        log.info("partitions revoked", partitions=_names(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        log.warning("partitions lost", partitions=_names(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._lost_some = True
        for p in partitions:
            self._own.discard((p.topic, p.partition))
            self._last_ms.pop((p.topic, p.partition), None)
            for gauge in (self._metrics.consumer_lag_messages, self._metrics.consumer_lag_seconds):
                with suppress(KeyError):
                    gauge.remove(p.topic, str(p.partition))

    def _on_statistics(self, text: str) -> None:
        for topic, partition, lag in _lags(json.loads(text)):
            self._metrics.consumer_lag_messages.labels(topic, partition).set(lag)
            last_ms = self._last_ms.get((topic, partition), -1)
            if lag == 0 or last_ms >= 0:
                age = max(0.0, (self._clock() - last_ms) / 1000) if lag > 0 else 0.0
                self._metrics.consumer_lag_seconds.labels(topic, partition).set(age)


def _lags(statistics: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return (topic, partition, messages not yet delivered) of the partitions being fetched."""
    lags = []
    for topic, entry in statistics.get("topics", {}).items():
        for partition, values in entry["partitions"].items():
            offsets = [values.get(f"{name}_offset", -1) for name in ("stored", "committed", "lo")]
            done = next((offset for offset in offsets if offset >= 0), None)
            end = values.get("hi_offset", -1)
            if values.get("fetch_state") == "active" and done is not None and end >= 0:
                lags.append((topic, int(partition), max(0, end - done)))
    return lags


@contextmanager
def _lost_partition(attempt: str) -> Iterator[None]:
    """Go on when a partition was just taken away: its new owner reads the messages again."""
    try:
        yield
    except KafkaException as error:
        log.warning("partition was lost", attempt=attempt, error=str(error))


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _origin(message: Message) -> TopicPartition:
    """Return where a message without an error stands."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return TopicPartition(topic, partition, offset)


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{p.topic}[{p.partition}]" for p in partitions]
