"""Outcomes to Kafka: classifications to one topic, dead letters to another."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from models.errors import ConfigurationError, DeliveryError
from stream.librdkafka import KafkaOptions, producer_config
from stream.output.encoders import Encoder
from stream.output.outcomes import Outcomes

__all__ = ["KafkaSink"]

_QUEUE_FULL_WAIT_S = 0.1


class KafkaSink:
    """Produce one record per alert, keyed by object id, and one per refused message."""

    def __init__(
        self, options: KafkaOptions, topic: str, dead_letter_topic: str, encode: Encoder
    ) -> None:
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._encode = encode
        self._servers = options.bootstrap_servers
        self._failure: KafkaError | None = None
        config = producer_config(options) | {
            "on_delivery": self._on_delivery,
            "delivery.report.only.error": True,
        }
        try:
            self._producer = Producer(config, logger=logging.getLogger("librdkafka"))
        except (KafkaException, ValueError) as error:
            raise ConfigurationError(f"Kafka refuses the configuration: {error}") from error

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
        """Hand all records of a batch to the producer."""
        keys = outcomes.alerts.object_id.to_pylist()
        for key, value in zip(keys, self._encode(outcomes), strict=True):
            self._produce(self._topic, key.encode() or None, value)
        refused = outcomes.alerts.refused
        for row, reason, error in zip(refused.message, refused.reason, refused.error, strict=True):
            self._dead_letter(outcomes, row, reason, error)

    def flush(self, wait_s: float) -> bool:
        """Wait at most ``wait_s``; True when the brokers acknowledged everything."""
        outstanding = self._producer.flush(wait_s)
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka refused a record for good: {self._failure.str()}. Nothing of its batch was "
                "committed",
                self._failure,
            )
        return outstanding == 0

    def close(self) -> None:
        """Do nothing: everything was flushed."""

    def _dead_letter(self, outcomes: Outcomes, row: int, reason: str, error: str) -> None:
        """Produce a message's bytes untouched, with what is known of it in headers."""
        messages = outcomes.messages
        headers = {
            "reason": reason,
            "error": error,
            "source_topic": messages.topic[row],
            "source_partition": messages.partition[row],
            "source_offset": messages.offset[row],
            "source_timestamp_ms": messages.timestamp_ms[row],
            "tinyt2_version": version("tinyt2"),
        }
        self._produce(
            self._dead_letter_topic,
            messages.keys[row],
            messages.values[row],
            [(name, str(value).encode()) for name, value in headers.items()],
        )

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, headers=headers or [])
            except BufferError:
                self._producer.poll(_QUEUE_FULL_WAIT_S)
            except KafkaException as error:
                raise DeliveryError(f"cannot produce to {topic}: {error}", topic) from error
            else:
                return

    def _on_delivery(self, error: KafkaError | None, message: Message | Any) -> None:
        if error is not None:
            self._failure = error
