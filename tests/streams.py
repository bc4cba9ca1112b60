"""A stream with topics of its own: fed, served, and followed to see that nothing is lost."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.bench.memory import small_packets
from deploy.serving import Serve, ServeTopics
from stream.librdkafka import KafkaOptions, open_producer
from tests.brokers import Broker, fresh_name
from tests.packets import ZTF, container, ztf_record
from tests.records import read_record, read_topic

Source = tuple[int, int]
"""Partition and offset of a message."""


def light_packets(rubbish: int = 50, real: int = 10) -> list[bytes]:
    """Return small messages: mostly packets with one point, some real ones, some rubbish.

    One message in ``rubbish`` is a dead letter, one in ``real`` a bundled packet.
    """
    packets, bundled = [], cycle(small_packets())
    for i in range(rubbish * real):
        packet = container(ZTF, [ztf_record(i)])
        if i % rubbish == 1:
            packet = b"rubbish"
        elif i % real == 2:
            packet = next(bundled)
        packets.append(packet)
    return packets


@dataclass
class Stream:
    """Topics and a group of their own."""

    broker: Broker
    partitions: int = 2
    name: str = field(default_factory=lambda: fresh_name("alerts"))
    n_sent: int = 0

    def __post_init__(self) -> None:
        topics = self.topics
        names = [topics.alerts, topics.classifications, topics.dead_letters]
        self.broker.create_topics(names, self.partitions)
        self._producer = open_producer(KafkaOptions(self.broker.bootstrap_servers))

    @property
    def topics(self) -> ServeTopics:
        return ServeTopics(self.name, f"{self.name}-out", f"{self.name}-dead")

    def serve(self, log: Path, settings: Mapping[str, str] | None = None) -> Serve:
        """Start a service on this stream; ``settings`` without their common prefix."""
        prefixed = {f"TINYT2__{key}": value for key, value in (settings or {}).items()}
        return Serve(self.broker.bootstrap_servers, self.name, self.topics, log, prefixed)

    def produce(self, values: Sequence[bytes], n: int | None = None) -> None:
        """Append messages, n of them, over and over again, spread over the partitions."""
        for value in islice(cycle(values), len(values) if n is None else n):
            self._producer.produce(self.name, value, partition=self.n_sent % self.partitions)
            self._producer.poll(0)
            self.n_sent += 1
        assert self._producer.flush(60) == 0

    def produce_one(self, topic: str, value: bytes) -> None:
        """Append a message to the first partition of another topic."""
        self._producer.produce(topic, value, partition=0)
        assert self._producer.flush(60) == 0

    def dead_letters(self) -> list[Message]:
        """Return all dead letters."""
        servers = self.broker.bootstrap_servers
        return read_topic(servers, self.topics.dead_letters, self.partitions)

    def sources(self) -> set[Source]:
        """Return all messages that were sent."""
        return {(i % self.partitions, i // self.partitions) for i in range(self.n_sent)}

    def committed(self) -> int:
        """Return how many messages the group has committed."""
        config = {"bootstrap.servers": self.broker.bootstrap_servers, "group.id": self.name}
        consumer = Consumer(config)
        partitions = [TopicPartition(self.name, p) for p in range(self.partitions)]
        offsets = [p.offset for p in consumer.committed(partitions, timeout=30)]
        consumer.close()
        return sum(o for o in offsets if o > 0)


class Companion(threading.Thread):
    """Works beside a ``with`` block until that ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._end = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self.join(120)
        assert not self.is_alive()


class Follower(Companion):
    """Reads all that a stream publishes, as it comes."""

    def __init__(self, stream: Stream, isolation: str = "read_committed") -> None:
        super().__init__()
        self._stream = stream
        self._consumer = Consumer(
            {
                "bootstrap.servers": stream.broker.bootstrap_servers,
                "group.id": fresh_name("follower"),
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        topics = (stream.topics.classifications, stream.topics.dead_letters)
        self._consumer.assign(
            [TopicPartition(topic, p, 0) for topic in topics for p in range(stream.partitions)]
        )
        self.times: Counter[Source] = Counter()
        """How often the outcome of each message was seen; each has one alert at most."""
        self.n_records = 0

    @property
    def n_seen(self) -> int:
        """Return how many messages have their outcome."""
        return len(self.times)

    @property
    def n_repeated(self) -> int:
        """Return how many records are repetitions."""
        return self.n_records - len(self.times)

    def run(self) -> None:
        while not self._end.is_set():
            for message in self._consumer.consume(500, 0.05):
                if message.error() is None:
                    self.times[_source(message)] += 1
                    self.n_records += 1
        self._consumer.close()

    def wait_for(self, n: int, seconds: float, check: Callable[[], object] = lambda: None) -> None:
        """Wait until n messages have their outcome."""
        deadline = time.monotonic() + seconds
        while self.n_seen < n:
            check()
            assert time.monotonic() < deadline, f"{self.n_seen} of {n} after {seconds:g} s"
            time.sleep(0.005)

    def check_complete(self) -> None:
        """Fail when a message that was sent has no outcome, or one that was not sent has one."""
        missing = self._stream.sources() - set(self.times)
        assert not missing, f"{len(missing)} lost, for example {sorted(missing)[:5]}"
        assert set(self.times) == self._stream.sources()


class Feeder(Companion):
    """Appends messages in small portions, so many a second."""

    def __init__(self, stream: Stream, values: Sequence[bytes], rate: int) -> None:
        super().__init__()
        self._stream = stream
        self._values = values
        self._portion = max(1, rate // 10)

    def run(self) -> None:
        while not self._end.wait(0.1):
            self._stream.produce(self._values, self._portion)


def _source(message: Message) -> Source:
    headers = dict(message.headers() or [])
    if "source_offset" in headers:
        return int(headers["source_partition"] or 0), int(headers["source_offset"] or 0)
    record: dict[str, Any] = read_record(message.value())
    return record["partition"], record["offset"]


def metric(service: Serve, name: str) -> float:
    """Return the sum of a metric over its labels."""
    return sum(samples(service, name))


def samples(service: Serve, name: str) -> list[float]:
    """Return a metric's value for each of its labels."""
    started = service.wait_for_event("started")
    with urllib.request.urlopen(f"{started['http']}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
    return [s.value for f in families for s in f.samples if s.name == name]
