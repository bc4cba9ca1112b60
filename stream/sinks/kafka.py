"""Outcomes to Kafka: classifications to one topic, dead letters to another."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from models.errors import ConfigurationError, DeliveryError
from stream.alerts import MessageBatch
from stream.librdkafka import KafkaOptions, open_producer
from stream.output.encoders import Encoder
from stream.output.outcomes import Outcomes

__all__ = ["KafkaSink"]

log = structlog.get_logger()

_VERSION: Final = version("tinyt2")


class KafkaSink:
    """Produce one record per alert, keyed by object id, and one per refused message."""

    def __init__(
        self, options: KafkaOptions, topic: str, dead_letter_topic: str, encode: Encoder
    ) -> None:
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._encode = encode
        self._servers = options.bootstrap_servers
        self._pending: deque[_Record] = deque()
        self._failure: KafkaError | None = None
        self._producer = open_producer(options, report_errors_only=True)

    def check(self, wait_s: float) -> None:
        """Raise `ConfigurationError` when the cluster or one of the output topics is not there."""
        try:
            known = self._producer.list_topics(timeout=wait_s).topics
        except KafkaException as error:
            raise ConfigurationError(
                f"no Kafka broker answers at {self._servers} within {wait_s:g} s: check "
                f"[kafka] bootstrap_servers ({error.args[0].str()})",
                self._servers,
            ) from error
        for topic in (self._topic, self._dead_letter_topic):
            if topic not in known:
                raise ConfigurationError(
                    f"the output topic {topic!r} does not exist: create it, for example "
                    f"kafka-topics.sh --bootstrap-server {self._servers} --create --topic {topic}",
                    topic,
                )

    def write(self, outcomes: Outcomes) -> None:
        """Queue all records of a batch; `flush` hands over what the producer cannot take yet."""
        keys = outcomes.alerts.object_id.to_pylist()
        for key, value in zip(keys, self._encode(outcomes), strict=True):
            self._pending.append(_Record(self._topic, key.encode() or None, value))
        refused = outcomes.alerts.refused
        for row, reason, error in zip(refused.message, refused.reason, refused.error, strict=True):
            self._pending.append(self._dead_letter(outcomes.messages, row, reason, error))
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
        return not self._pending and len(self._producer) == 0

    def close(self) -> None:
        """Do nothing: everything was flushed."""

    def _dead_letter(self, messages: MessageBatch, row: int, reason: str, error: str) -> _Record:
        """Return a message's bytes untouched, with what is known of it in headers."""
        headers = {
            "reason": reason,
            "error": error,
            "source_topic": messages.topic[row],
            "source_partition": messages.partition[row],
            "source_offset": messages.offset[row],
            "source_timestamp_ms": messages.timestamp_ms[row],
            "tinyt2_version": _VERSION,
        }
        return _Record(
            self._dead_letter_topic,
            messages.keys[row],
            messages.values[row],
            [(name, str(value).encode()) for name, value in headers.items()],
        )

    def _hand_over(self) -> None:
        """Give the producer as many pending records as its queue takes."""
        while self._pending:
            record = self._pending[0]
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=record.headers,
                    on_delivery=partial(self._on_delivery, record),
                )
            except BufferError:
                return
            except KafkaException as error:
                self._on_delivery(record, error.args[0])
            self._pending.popleft()

    def _on_delivery(
        self, record: _Record, error: KafkaError | None, message: Message | None = None
    ) -> None:
        if error is None:
            return
        shorter = record.without_payload()
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and shorter is not None:
            log.warning("dead letter is too large for its topic: sent without its bytes")
            self._pending.append(shorter)
        else:
            self._failure = error


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]] = field(default_factory=list)
    """Only dead letters have headers."""

    def without_payload(self) -> _Record | None:
        """Return a dead letter that only says where its bytes are; None for anything else.

        A message that no topic takes must not stop the stream for ever.
        """
        if not self.headers or not self.value:
            return None
        omitted = ("payload_omitted_bytes", str(len(self.value)).encode())
        return _Record(self.topic, self.key, b"", [*self.headers, omitted])
