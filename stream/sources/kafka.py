"""Messages from Kafka topics, as a member of a consumer group."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import numpy as np
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import ConfigurationError, DeliveryError
from stream.alerts import MessageBatch
from stream.blocking import BlockingCalls
from stream.clock import Clock, system_clock
from stream.deadletter import headers_of
from stream.librdkafka import KafkaOptions, open_consumer
from stream.metrics import Metrics
from stream.sources.gate import SchemaGate

__all__ = ["KafkaSource"]

log = structlog.get_logger()

_LEAVE_S: Final = 10.0
_SERVE_S: Final = 0.05
_GONE: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
_FORBIDDEN: Final = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.INVALID_COMMIT_OFFSET_SIZE,
)

_Key = tuple[str, int]
"""Topic and partition."""


class KafkaSource:
    """A source over topics (``^`` starts a pattern). Offsets are committed after delivery only.

    One batch is handed out at a time: it is committed or rewound before the next poll.
    """

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
        self._own: set[_Key] = set()
        # Taken away while their messages were in flight, even if they are back by now.
        self._left: set[_Key] = set()
        self._settle: Callable[[], None] = _nothing
        self._last_ms: dict[_Key, int] = {}
        self._instance = options.group_instance_id
        self._commits = BlockingCalls("commit")
        self._commit_failed = False
        self._consumer = open_consumer(options, self._on_statistics)
        self._member: object = None

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
        received = self._consumer.consume(max_messages, wait_s)
        messages = [m for m in received if self._is_data(m)]
        if self._left:
            # Their new owner reads them too.
            messages = [m for m in messages if (m.topic(), m.partition()) in self._own]
            self._left.clear()
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

    def keep_alive(self, settle: Callable[[], None]) -> None:
        """Serve the group protocol while the input is paused, so that nobody fences us.

        ``settle`` is called before partitions are handed over to another member in order.
        """
        if not self._paused:
            self._paused = True
            log.warning("input paused: the output or the commit does not keep up")
        # Every time, since partitions may have been added meanwhile.
        self._consumer.pause(self._consumer.assignment())
        self._settle = settle
        try:
            for message in self._consumer.consume(1, _SERVE_S):
                # It slipped in before the pause and has no place in this batch: read it again.
                if self._is_data(message):
                    self._seek(_origin(message))
        finally:
            self._settle = _nothing

    def offsets(self, messages: MessageBatch) -> list[TopicPartition]:
        """Return where to go on behind these messages, of the partitions that are still ours."""
        end: dict[_Key, int] = {}
        for topic, partition, offset in zip(
            messages.topic, messages.partition.tolist(), messages.offset.tolist(), strict=True
        ):
            end[topic, partition] = max(end.get((topic, partition), 0), offset + 1)
        # A partition that was taken away meanwhile is read again by its new owner.
        return [TopicPartition(*key, offset) for key, offset in end.items() if self._holds(key)]

    def commit(self, messages: MessageBatch, wait_s: float) -> bool:
        """Commit the offsets behind these messages; True when the brokers have them.

        Partitions that were taken away are left to their new owner. Raises `DeliveryError`
        when the brokers forbid it or this member was replaced.
        """
        offsets = self.offsets(messages)
        if not offsets:
            return True
        try:
            # By offsets: one that still runs for an earlier batch is not taken for this one.
            what = " ".join(f"{p.topic}/{p.partition}/{p.offset}" for p in offsets)
            committed = self._commits.wait(what, partial(self._commit, offsets), wait_s)
        except KafkaException as error:
            return self._commit_refused(error.args[0])
        self._commit_failed = self._commit_failed and not committed
        return committed

    def mark_committed(self, messages: MessageBatch) -> None:
        """Count lag from behind these messages: a transaction committed them, not this client."""
        with _lost_partition("mark"):
            self._consumer.store_offsets(offsets=self.offsets(messages))

    def holds_all(self, messages: MessageBatch) -> bool:
        """Tell whether no partition of these messages was taken away since they were read."""
        return not self._left or len(self.offsets(messages)) == len(_first_offsets(messages))

    def rewind(self, messages: MessageBatch) -> None:
        """Read these messages again; those of partitions that were taken away, others read."""
        for key, offset in _first_offsets(messages).items():
            if self._holds(key):
                self._seek(TopicPartition(*key, offset))
        # The group may have moved on without a change of our partitions.
        self._member = self._consumer.consumer_group_metadata()

    def group_metadata(self) -> object:
        """Return who this member was when it got its partitions, for the offsets of a transaction.

        The group refuses them once it has moved on, even if we have not heard of that yet.
        """
        return self._member

    def close(self) -> None:
        """Leave the group, unless no broker answers in time."""
        # The library waits for brokers without a bound of its own.
        leaving = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_S)
        self._commits.close()
        if leaving.is_alive():
            log.warning("the group was not told of the end: no broker answers", waited_s=_LEAVE_S)

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

    def _commit(self, offsets: list[TopicPartition]) -> None:
        with self._metrics.stage("commit"):
            done = self._consumer.commit(offsets=offsets, asynchronous=False) or []
        for p in done:
            if p.error is not None and p.error.code() not in _GONE:
                raise KafkaException(p.error)

    def _commit_refused(self, error: KafkaError) -> bool:
        """Return whether to go on without this commit; it is repeated otherwise."""
        if error.fatal():
            raise self._stopped(error)
        if error.code() in _FORBIDDEN:
            raise DeliveryError(f"Kafka refuses to commit: {error.str()}", error)
        if error.code() in _GONE:
            log.warning("commit left out: the topic is gone", error=error.str())
            return True
        self._metrics.commit_failures.inc()
        if not self._commit_failed:
            log.warning("commit failed; it is repeated", error=error.str())
        self._commit_failed = True
        return False

    def _holds(self, key: _Key) -> bool:
        return key in self._own and key not in self._left

    def _seek(self, position: TopicPartition) -> None:
        with _lost_partition("seek"):
            self._consumer.seek(position)

    def _stopped(self, error: KafkaError) -> DeliveryError:
        # A fatal error comes wrapped: its cause is in its text alone.
        if KafkaError(KafkaError.FENCED_INSTANCE_ID).str() in error.str():
            return DeliveryError(
                f"another process joined the group as {self._instance!r} and takes over: this one "
                "stops. Give every process a [kafka] group_instance_id of its own",
                self._instance,
            )
        return DeliveryError(f"the consumer was stopped by Kafka: {error.str()}", error)

    def _is_data(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal() or error.code() == KafkaError._FATAL:
            raise self._stopped(error)
        if error.code() != KafkaError._PARTITION_EOF:
            log.warning("kafka", error=error.str())
        return False

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._own.update(map(_key, partitions))
        self._member = consumer.consumer_group_metadata()
        self._metrics.rebalances.inc()
        log.info("partitions assigned", partitions=_names(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._settle()
        self._forget(partitions)
        log.info("partitions revoked", partitions=_names(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        log.warning("partitions lost", partitions=_names(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> None:
        # A pause would still hold when they are back.
        with _lost_partition("resume"):
            self._consumer.resume(partitions)
        for p in partitions:
            self._own.discard(_key(p))
            self._left.add(_key(p))
            self._last_ms.pop(_key(p), None)
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


def _nothing() -> None:
    pass


def _key(p: TopicPartition) -> _Key:
    return p.topic, p.partition


def _first_offsets(messages: MessageBatch) -> dict[_Key, int]:
    """Return where each partition's messages begin."""
    first: dict[_Key, int] = {}
    for topic, partition, offset in zip(
        messages.topic, messages.partition.tolist(), messages.offset.tolist(), strict=True
    ):
        first[topic, partition] = min(first.get((topic, partition), offset), offset)
    return first


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _origin(message: Message) -> TopicPartition:
    """Return where a message without an error stands."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return TopicPartition(topic, partition, offset)


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{p.topic}[{p.partition}]" for p in partitions]
