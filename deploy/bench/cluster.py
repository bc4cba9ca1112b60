"""Topics for the benchmarks: filled, consumed and read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from itertools import cycle, islice
from typing import Any, Final, NamedTuple
from uuid import uuid4

import fastavro
import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.broker import EmbeddedBroker, create_topics
from deploy.serving import ServeTopics
from models.errors import ConfigurationError, TinyT2Error
from stream.librdkafka import KafkaOptions, open_consumer, open_producer
from stream.output.schema import CLASSIFICATION

__all__ = [
    "GROUP_OPTIONS",
    "PARTITIONS",
    "Published",
    "cluster",
    "fill",
    "fresh",
    "fresh_topics",
    "open_reader",
    "published",
]

PARTITIONS: Final = 2
GROUP_OPTIONS: Final = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
"""As `deploy.serving.Serve` sets them."""

_ANSWER_S: Final = 3.0
_FLUSH_S: Final = 120.0
_SINGLE_OBJECT_HEADER: Final = 10


@contextmanager
def cluster(bootstrap_servers: str | None) -> Iterator[str]:
    """Yield the address of a cluster: the given one, else an embedded broker's.

    `ConfigurationError` when the given one does not answer.
    """
    if bootstrap_servers is not None:
        _check_answers(bootstrap_servers)
        yield bootstrap_servers
    else:
        with EmbeddedBroker() as broker:
            yield broker.bootstrap_servers


def _check_answers(servers: str) -> None:
    try:
        open_producer(KafkaOptions(servers)).list_topics(timeout=_ANSWER_S)
    except KafkaException as error:
        raise ConfigurationError(
            f"no Kafka broker answers at {servers}: {error.args[0].str()}", servers
        ) from error


def fresh(kind: str) -> str:
    """Return a name for a topic or group that was never used."""
    return f"tinyt2-bench-{kind}-{uuid4().hex[:8]}"


def fresh_topics(servers: str, alerts: str | None = None) -> ServeTopics:
    """Create new topics for a service; ``alerts`` is the input if it is there already."""
    outputs = fresh("out"), fresh("dead")
    topics = ServeTopics(alerts or fresh("alerts"), *outputs)
    create_topics(servers, outputs if alerts else (topics.alerts, *outputs), PARTITIONS)
    return topics


def fill(servers: str, values: Sequence[bytes], n: int) -> str:
    """Return a new topic with n messages, evenly over its partitions."""
    topic = fresh("alerts")
    create_topics(servers, [topic], PARTITIONS)
    producer = open_producer(KafkaOptions(servers))
    for i, value in enumerate(islice(cycle(values), n)):
        while True:
            try:
                producer.produce(topic, value, partition=i % PARTITIONS)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    if left := producer.flush(_FLUSH_S):
        raise TinyT2Error(f"{left} messages were not taken by the broker at {servers}", left)
    return topic


def open_reader(servers: str, topic: str, partitions: int = PARTITIONS) -> Consumer:
    """Open a consumer at the beginning of a topic, in no group."""
    consumer = open_consumer(KafkaOptions(servers, fresh("reader")))
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    return consumer


class Published(NamedTuple):
    """The times of n records that the service published, Unix seconds, all [n]."""

    appended: npt.NDArray[np.float64]
    """When the alert was appended to its topic, or sent by its producer: as the topic is set."""
    ingested: npt.NDArray[np.float64]
    """When the service read it."""
    published: npt.NDArray[np.float64]
    """When the record was appended to its topic, or handed to the producer."""


def published(records: Sequence[tuple[int, bytes]]) -> Published:
    """Return the times of records, each with its message's time stamp in ms."""
    decoded = [_decode(value) for _, value in records]
    return Published(
        np.array([_unix_s(record["alert_time"]) for record in decoded]),
        np.array([_unix_s(record["ingest_time"]) for record in decoded]),
        np.array([ms for ms, _ in records]) / 1000,
    )


def _decode(value: bytes) -> dict[str, Any]:
    record = fastavro.schemaless_reader(BytesIO(value[_SINGLE_OBJECT_HEADER:]), CLASSIFICATION)
    assert isinstance(record, dict)
    return record


def _unix_s(time: datetime) -> float:
    return time.timestamp()
