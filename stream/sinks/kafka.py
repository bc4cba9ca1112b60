"""Outcomes to Kafka: classifications to one topic, dead letters to another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import pyarrow as pa
import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from models.errors import DeliveryError
from stream.alerts import Headers
from stream.deadletter import DeadLetter
from stream.librdkafka import KafkaOptions, check_topics, open_producer
from stream.output.encoders import Encoder
from stream.output.outcomes import Outcomes

__all__ = ["KafkaSink"]

log = structlog.get_logger()

_OnDelivery: TypeAlias = Callable[[KafkaError | None, Message | None], None]


class KafkaSink:
    """Produce one record per alert, keyed by object id, and one per refused message."""

    def __init__(
        self, options: KafkaOptions, topic: str, dead_letter_topic: str, encode: Encoder
    ) -> None:
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._encode = encode
        self._options = options
        # What the producer has not taken yet.
        self._classifications: deque[tuple[bytes, bytes]] = deque()
        self._dead_letters: deque[DeadLetter] = deque()
        self._failure: KafkaError | None = None
        self._producer = open_producer(options, report_errors_only=True)

    def check(self, wait_s: float) -> None:
        """Raise `ConfigurationError` when the cluster or one of the output topics is not there."""
        topics = (self._topic, self._dead_letter_topic)
        check_topics(self._producer, self._options, topics, wait_s)

    def write(self, outcomes: Outcomes) -> None:
        """Queue all records of a batch; `flush` hands over what the producer cannot take yet."""
        keys = outcomes.alerts.object_id.cast(pa.binary()).to_pylist()
        self._classifications.extend(zip(keys, self._encode(outcomes), strict=True))
        refused = outcomes.alerts.refused
        for row, reason, error in zip(refused.message, refused.reason, refused.error, strict=True):
            self._dead_letters.append(DeadLetter.of(outcomes.messages, row, reason, error))
        self._hand_over()

    def flush(self, wait_s: float) -> bool:
        """Wait at most ``wait_s``; True when the brokers acknowledged everything."""
        self._producer.flush(wait_s)
        self._hand_over()
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka refused a record for good: {self._failure.str()}. Nothing of its batch was "
                "committed",
                self._failure,
            )
        return not self._classifications and not self._dead_letters and len(self._producer) == 0

    def close(self) -> None:
        """Do nothing: everything was flushed."""

    def _hand_over(self) -> None:
        """Give the producer as many pending records as its queue takes."""
        try:
            while self._classifications:
                key, value = self._classifications[0]
                self._produce(self._topic, key or None, value, None, self._on_classification)
                self._classifications.popleft()
            while self._dead_letters:
                letter = self._dead_letters[0]
                on_delivery = partial(self._on_dead_letter, letter)
                self._produce(
                    self._dead_letter_topic, letter.key, letter.value, letter.headers, on_delivery
                )
                self._dead_letters.popleft()
        except BufferError:
            return

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        on_delivery: _OnDelivery,
    ) -> None:
        """Queue a record; `BufferError` when the queue is full."""
        try:
            self._producer.produce(
                topic, value=value, key=key, headers=headers, on_delivery=on_delivery
            )
        except KafkaException as error:
            on_delivery(error.args[0], None)

    def _on_classification(self, error: KafkaError | None, message: Message | None) -> None:
        if error is not None:
            self._failure = error

    def _on_dead_letter(
        self, letter: DeadLetter, error: KafkaError | None, message: Message | None
    ) -> None:
        if error is None:
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and not letter.shortened:
            log.warning("dead letter is too large for its topic: sent without its bytes")
            self._dead_letters.append(letter.without_payload())
        else:
            self._failure = error
