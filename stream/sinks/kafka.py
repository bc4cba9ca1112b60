"""Outcomes to Kafka: classifications to one topic, dead letters to another."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

import pyarrow as pa
import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from models.errors import DeliveryError
from stream.deadletter import DeadLetter
from stream.librdkafka import KafkaOptions, check_topics, fatal_errors_first, open_producer
from stream.metrics import Metrics
from stream.output.encoders import Encoder
from stream.output.outcomes import Outcomes

__all__ = ["NO_TOPIC", "KafkaSink"]

log = structlog.get_logger()

_TOO_LARGE: Final = KafkaError.MSG_SIZE_TOO_LARGE
NO_TOPIC: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
"""The topic is not there just now: recreated topics are found again."""


class KafkaSink:
    """Produce one record per alert, keyed by object id, and one per refused message.

    librdkafka repeats what can be repeated. A record too large for its topic becomes a dead
    letter of its message, a dead letter too large for its topic is sent without its bytes.
    """

    def __init__(
        self,
        options: KafkaOptions,
        topic: str,
        dead_letter_topic: str,
        encode: Encoder,
        metrics: Metrics | None = None,
    ) -> None:
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._encode = encode
        self._options = options
        self._metrics = metrics or Metrics()
        self._outcomes: Outcomes | None = None
        self._keys: list[bytes] = []
        self._records: list[bytes] = []
        # What the producer has not taken yet; of the records their rows.
        self._classifications: deque[int] = deque()
        self._dead_letters: deque[DeadLetter] = deque()
        self._failure: KafkaError | None = None
        self._topic_missing = False
        self._missing_told = False
        self._producer = open_producer(options, report_errors_only=True)

    def check(self, wait_s: float) -> None:
        """Raise `ConfigurationError` when the cluster or one of the output topics is not there."""
        topics = (self._topic, self._dead_letter_topic)
        check_topics(self._producer, self._options, topics, wait_s)

    def write(self, outcomes: Outcomes) -> None:
        """Queue all records of a batch; `flush` hands over what the producer cannot take yet."""
        self._outcomes, self._records = outcomes, self._encode(outcomes)
        self._keys = outcomes.alerts.object_id.cast(pa.binary()).to_pylist()
        self._classifications.extend(range(len(self._records)))
        refused = outcomes.alerts.refused
        for row, reason, error in zip(refused.message, refused.reason, refused.error, strict=True):
            self._add_letter(DeadLetter.of(outcomes.messages, row, reason, error))
        self._hand_over()

    def flush(self, wait_s: float) -> bool:
        """Wait at most ``wait_s``; True when the brokers acknowledged everything."""
        self._serve(wait_s)
        self._topic_missing = False
        self._hand_over()
        if self._failure is not None:
            raise self._failed(self._failure)
        left = len(self._classifications) + len(self._dead_letters) + len(self._producer)
        if left == 0:
            self._outcomes, self._keys, self._records = None, [], []
            self._missing_told = False
        return left == 0

    def close(self) -> None:
        """Do nothing: everything was flushed."""

    def _serve(self, wait_s: float) -> None:
        """Wait for delivery reports; `DeliveryError` when the producer was stopped for good."""
        try:
            with fatal_errors_first():
                self._producer.flush(wait_s)
        except KafkaException as error:
            # For good: whoever asks again is told the same.
            self._failure = error.args[0]
            raise self._failed(error.args[0]) from error
        except SystemError as error:
            # The same, of which only the reports of records tell.
            if self._failure is None:
                raise
            raise self._failed(self._failure) from error

    def _failed(self, error: KafkaError) -> DeliveryError:
        return DeliveryError(
            f"Kafka refused a record for good: {error.str()}. Nothing of its batch was committed",
            error,
        )

    def _hand_over(self) -> None:
        """Give the producer as many pending records as its queue takes."""
        try:
            while self._classifications and not self._topic_missing:
                self._produce(self._classifications[0])
                self._classifications.popleft()
            while self._dead_letters and not self._topic_missing:
                self._produce_letter(self._dead_letters[0])
                self._dead_letters.popleft()
        except BufferError:
            return

    def _produce(self, row: int) -> None:
        """Queue a record; `BufferError` when the queue is full."""
        try:
            self._producer.produce(
                self._topic,
                value=self._records[row],
                key=self._keys[row] or None,
                on_delivery=partial(self._on_classification, row),
            )
        except KafkaException as error:
            self._record_failed(error.args[0], row)

    def _produce_letter(self, letter: DeadLetter) -> None:
        try:
            self._producer.produce(
                self._dead_letter_topic,
                value=letter.value,
                key=letter.key,
                headers=letter.headers,
                on_delivery=partial(self._on_dead_letter, letter),
            )
        except KafkaException as error:
            self._letter_failed(error.args[0], letter)

    def _on_classification(self, row: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._record_failed(error, row)

    def _on_dead_letter(
        self, letter: DeadLetter, error: KafkaError | None, message: Message
    ) -> None:
        if error is not None:
            self._letter_failed(error, letter)

    def _record_failed(self, error: KafkaError, row: int) -> None:
        if error.code() == _TOO_LARGE:
            self._record_too_large(row)
        elif error.code() in NO_TOPIC:
            self._wait_for_topic(error)
            self._classifications.append(row)
        else:
            self._failure = error

    def _letter_failed(self, error: KafkaError, letter: DeadLetter) -> None:
        if error.code() == _TOO_LARGE and not letter.shortened:
            self._letter_too_large(letter)
        elif error.code() in NO_TOPIC:
            self._wait_for_topic(error)
            self._dead_letters.append(letter)
        else:
            self._failure = error

    def _record_too_large(self, row: int) -> None:
        """Make a record that its topic does not take a dead letter."""
        assert self._outcomes is not None
        log.warning("a record is too large for its topic: its message is a dead letter")
        self._metrics.records_refused.inc()
        self._add_letter(DeadLetter.of_record(self._outcomes, row))

    def _letter_too_large(self, letter: DeadLetter) -> None:
        log.warning("dead letter is too large for its topic: sent without its bytes")
        self._add_letter(letter.without_payload())

    def _add_letter(self, letter: DeadLetter) -> None:
        self._dead_letters.append(letter)

    def _wait_for_topic(self, error: KafkaError) -> None:
        if not self._missing_told:
            log.warning("an output topic is not there: its records wait", error=error.str())
        self._topic_missing = self._missing_told = True
