"""Our options as librdkafka configuration: the only place that names its keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer

from models.errors import ConfigurationError
from stream.connection import explain

__all__ = [
    "KafkaOptions",
    "check_topics",
    "fatal_errors_first",
    "open_consumer",
    "open_producer",
    "open_reader",
]

Client = Mapping[str, str | int | float | bool]

_LOGGER: Final = logging.getLogger("librdkafka")
_MAX_MESSAGE_BYTES: Final = 64 * 2**20
_PREFETCH_KBYTES: Final = 65536
_STATISTICS_MS: Final = 1000
_TRANSACTION_MS: Final = 60_000
"""A transaction that is open for longer is aborted by the brokers."""
_NEW_TOPIC_MS: Final = 30_000
"""How soon a pattern finds the topic of a new night."""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How to reach a cluster. The mappings go to librdkafka as they are and win."""

    bootstrap_servers: str
    group_id: str = "tinyt2"
    group_instance_id: str | None = None
    """Static membership: a restart within the session timeout moves no partitions."""
    transactional_id: str | None = None
    """Set for exactly once; a later producer with the same one fences this one."""
    client: Client = field(default_factory=dict, repr=False)
    """Keys for every client: security, timeouts. May hold secrets, so it is not in the repr."""
    consumer: Client = field(default_factory=dict, repr=False)
    producer: Client = field(default_factory=dict, repr=False)


def _client_config(options: KafkaOptions) -> dict[str, Any]:
    """Return what every client has in common."""
    return {
        "bootstrap.servers": options.bootstrap_servers,
        "client.id": "tinyt2",
        **options.client,
    }


def _consumer_config(options: KafkaOptions) -> dict[str, Any]:
    """Return the configuration of the input: only what we commit is ever committed."""
    instance = options.group_instance_id
    return {
        **_client_config(options),
        "group.id": options.group_id,
        **({} if instance is None else {"group.instance.id": instance}),
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False,
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 10,
        "fetch.message.max.bytes": 8 * 2**20,
        "queued.max.messages.kbytes": _PREFETCH_KBYTES,
        "topic.metadata.refresh.interval.ms": _NEW_TOPIC_MS,
        "partition.assignment.strategy": "cooperative-sticky",
        **options.consumer,
    }


def _producer_config(options: KafkaOptions) -> dict[str, Any]:
    """Return the configuration of the output: every record acknowledged by all replicas, in order.

    A record waits for its broker as long as it takes, or as long as its transaction may
    be open: the input pauses meanwhile.
    """
    patience: dict[str, Any] = {"message.timeout.ms": 0}
    if options.transactional_id is not None:
        patience = {
            "transactional.id": options.transactional_id,
            "transaction.timeout.ms": _TRANSACTION_MS,
        }
    return {
        **_client_config(options),
        "acks": "all",
        "enable.idempotence": True,
        **patience,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "linger.ms": 5,
        "compression.type": "lz4",
        **options.producer,
    }


def open_consumer(
    options: KafkaOptions, on_statistics: Callable[[str], None] | None = None
) -> Consumer:
    """Open a consumer; `ConfigurationError` when librdkafka refuses the configuration.

    ``on_statistics`` is given librdkafka's statistics as JSON, once a second.
    """
    config = _consumer_config(options)
    if on_statistics is not None:
        config |= {"statistics.interval.ms": _STATISTICS_MS, "stats_cb": on_statistics}
    with _refused():
        return Consumer(config, logger=_LOGGER)


def open_reader(options: KafkaOptions) -> Consumer:
    """Open a consumer that joins no group, commits nothing, and says where partitions end.

    `ConfigurationError` when librdkafka refuses the configuration.
    """
    config = _consumer_config(options) | {
        "group.id": f"{options.group_id}-reader",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    with _refused():
        return Consumer(config, logger=_LOGGER)


def open_producer(options: KafkaOptions, *, report_errors_only: bool = False) -> Producer:
    """Open a producer; `ConfigurationError` when librdkafka refuses the configuration.

    ``report_errors_only``: call back for records that could not be delivered, not for others.
    """
    config = _producer_config(options) | {"delivery.report.only.error": report_errors_only}
    with _refused():
        return Producer(config, logger=_LOGGER)


@contextmanager
def fatal_errors_first() -> Iterator[None]:
    """Raise the `KafkaException` that ended a client, not the `SystemError` that it leads to.

    The client sets a fatal error as Python's pending exception and then still calls back for
    records, which Python blames on the callbacks.
    """
    try:
        yield
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KafkaException):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


def check_topics(
    producer: Producer, options: KafkaOptions, topics: Iterable[str], wait_s: float
) -> None:
    """Raise `ConfigurationError` when the cluster or one of the topics to write to is not there."""
    servers = options.bootstrap_servers
    try:
        known = producer.list_topics(timeout=wait_s).topics
    except KafkaException as error:
        raise ConfigurationError(
            f"no Kafka broker answers at {servers} within {wait_s:g} s: "
            f"{explain(_client_config(options))}",
            servers,
        ) from error
    for topic in topics:
        if topic not in known:
            raise ConfigurationError(
                f"the topic {topic!r} does not exist: create it, for example "
                f"kafka-topics.sh --bootstrap-server {servers} --create --topic {topic}",
                topic,
            )


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (KafkaException, ValueError) as error:
        raise ConfigurationError(f"Kafka refuses the configuration: {error}") from error
