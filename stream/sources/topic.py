"""A topic read once from front to back, outside any consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import filterfalse
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import ConfigurationError
from stream.librdkafka import KafkaOptions, open_reader

__all__ = ["TopicReader", "origin"]

_ANSWER_S: Final = 30.0
_POLL_S: Final = 0.5
_BATCH: Final = 500
_PASSING: Final = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
)


class TopicReader:
    """The messages that a topic has when its end is first reached.

    Nothing is committed. Use it in a ``with`` block; `ConfigurationError` when the topic
    does not exist or the cluster does not answer.
    """

    def __init__(self, options: KafkaOptions, topic: str) -> None:
        self.topic = topic
        self.ends: dict[int, int] = {}
        """Offset behind the last message of each partition, once it was reached."""
        self._servers = options.bootstrap_servers
        self._consumer: Consumer = open_reader(options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()

    def __iter__(self) -> Iterator[Message]:
        """Yield all messages; a second time, the same ones again, however many came since."""
        open_ones = set(self._partitions())
        self._consumer.assign([TopicPartition(self.topic, p, 0) for p in sorted(open_ones)])
        deadline = time.monotonic() + _ANSWER_S
        while open_ones:
            messages = self._consumer.consume(_BATCH, _POLL_S)
            if messages:
                deadline = time.monotonic() + _ANSWER_S
            elif time.monotonic() > deadline:
                raise self._silent()
            for message in filterfalse(_passes, messages):
                if not _is_end(message) and _offset(message) < self._end(message):
                    yield message
                elif message.partition() in open_ones:
                    open_ones.discard(self._close(message))

    def read(self, partition: int, offset: int) -> Message | None:
        """Return one message, None when the topic does not have it."""
        if partition not in self._partitions():
            return None
        self._consumer.assign([TopicPartition(self.topic, partition, offset)])
        deadline = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline:
            message = self._consumer.poll(_POLL_S)
            if message is not None and not _passes(message):
                found = not _is_end(message) and _offset(message) == offset
                return message if found else None
        raise self._silent()

    def _partitions(self) -> list[int]:
        try:
            known = self._consumer.list_topics(self.topic, timeout=_ANSWER_S).topics[self.topic]
        except KafkaException as error:
            raise self._silent(error.args[0].str()) from error
        if known.error is not None:
            raise ConfigurationError(
                f"the topic {self.topic!r} cannot be read: {known.error.str()}", self.topic
            )
        return list(known.partitions)

    def _end(self, message: Message) -> float:
        return self.ends.get(message.partition() or 0, float("inf"))

    def _close(self, message: Message) -> int:
        """Note that a partition was read to its end."""
        place = origin(message)
        self.ends.setdefault(place.partition, place.offset)
        return place.partition

    def _silent(self, why: str = "it sends nothing") -> ConfigurationError:
        return ConfigurationError(
            f"no Kafka broker at {self._servers} answers for topic {self.topic!r} within "
            f"{_ANSWER_S:g} s: check [kafka] bootstrap_servers ({why})",
            self.topic,
        )


def origin(message: Message) -> TopicPartition:
    """Return where a message stands, or where a partition ends."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return TopicPartition(topic, partition, offset)


def _passes(message: Message) -> bool:
    """Tell whether an event is a failure that the client repairs by itself."""
    error = message.error()
    return error is not None and error.code() in _PASSING


def _is_end(message: Message) -> bool:
    """Tell the end of a partition from a message; `ConfigurationError` for any other event."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise ConfigurationError(f"{message.topic()} cannot be read: {error.str()}", error)
    return error is not None


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset
