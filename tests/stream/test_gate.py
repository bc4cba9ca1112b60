from __future__ import annotations

import json
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.runtime import OnnxClassifier
from stream.alerts import MessageBatch
from stream.avro.lookups import SchemaLookups
from stream.avro.schemas import PackageSchemas, RegistryOptions, open_schemas
from stream.decode import Decoder
from stream.librdkafka import KafkaOptions, open_producer
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.gate import SchemaGate
from stream.sources.kafka import KafkaSource
from tests.brokers import Broker, fresh_name
from tests.registries import Registry, registry

NEW_ID = 4242
GROUP = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as running:
        yield running


@pytest.fixture(scope="module")
def alert(alerts_dir: Path) -> bytes:
    return next(alerts_dir.glob("made_up/lsst/11.1/confluent/tiny_1101.avro")).read_bytes()


class Reader:
    """A source with a gate, and the pipeline behind it."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        server: Registry,
        classifier: OnnxClassifier,
        wait_s: float,
    ) -> None:
        store = open_schemas(RegistryOptions(server.url, retry_s=0.3))
        self.metrics = Metrics()
        gate = SchemaGate(SchemaLookups(store, wait_s), self.metrics)
        options = KafkaOptions(broker.bootstrap_servers, topic, consumer=GROUP)
        self.source = KafkaSource(options, [topic], self.metrics, gate=gate)
        self.pipeline = Pipeline(Decoder(store), classifier, self.metrics)
        self.outcomes: list[Outcomes] = []
        self.slowest_poll_s = 0.0

    def read(self, n: int, seconds: float = 90) -> None:
        """Take messages until there were ``n``."""
        deadline = time.monotonic() + seconds
        while sum(map(len, self.batches)) < n:
            assert time.monotonic() < deadline, self.offsets()
            self.step()

    def step(self) -> None:
        start = time.monotonic()
        batch = self.source.poll(100, 0.2)
        self.slowest_poll_s = max(self.slowest_poll_s, time.monotonic() - start)
        assert batch is not None
        if len(batch):
            self.outcomes.append(self.pipeline.process(batch))
            assert self.source.commit(batch, 30.0)

    @property
    def batches(self) -> list[MessageBatch]:
        return [outcome.messages for outcome in self.outcomes]

    def offsets(self) -> Counter[tuple[int, int]]:
        return Counter(
            (p, o)
            for batch in self.batches
            for p, o in zip(batch.partition.tolist(), batch.offset.tolist(), strict=True)
        )

    def reasons(self) -> Counter[str]:
        return Counter(str(r) for outcome in self.outcomes for r in outcome.alerts.refused.reason)


def filled_topic(broker: Broker, alert: bytes) -> str:
    """Return a topic whose partition 0 has the new schema from its third message on."""
    topic = fresh_name("gate")
    broker.create_topics([topic], 2)
    producer = open_producer(KafkaOptions(broker.bootstrap_servers))
    changed = b"\0" + struct.pack(">I", NEW_ID) + alert[5:]
    for partition, values in enumerate([[alert, alert, changed, alert, changed], [alert] * 5]):
        for value in values:
            producer.produce(topic, value, partition=partition)
    assert producer.flush(60) == 0
    return topic


def test_a_partition_waits_for_its_schema_while_others_go_on(
    broker: Broker, server: Registry, classifier: OnnxClassifier, alert: bytes
) -> None:
    server.broken = True
    reader = Reader(broker, filled_topic(broker, alert), server, classifier, wait_s=600)
    reader.read(7)
    for _ in range(8):
        reader.step()
    assert set(reader.offsets()) == {(0, 0), (0, 1), *((1, o) for o in range(5))}
    assert reader.metrics.held_partitions._value.get() == 1
    server.schemas[NEW_ID] = PackageSchemas().fetch(1101) or ""
    server.broken = False
    reader.read(10)
    for _ in range(3):
        reader.step()
    reader.source.close()
    assert reader.offsets() == Counter((p, o) for p in range(2) for o in range(5))
    assert not reader.reasons()
    assert reader.metrics.held_partitions._value.get() == 0
    assert reader.slowest_poll_s < 3, "polling never stops"


def test_after_the_bound_they_are_refused_with_the_id(
    broker: Broker, server: Registry, classifier: OnnxClassifier, alert: bytes
) -> None:
    server.broken = True
    reader = Reader(broker, filled_topic(broker, alert), server, classifier, wait_s=3)
    reader.read(10)
    reader.source.close()
    assert reader.offsets() == Counter((p, o) for p in range(2) for o in range(5))
    assert reader.reasons() == {"schema_unavailable": 2}
    error = next(e for outcome in reader.outcomes for e in outcome.alerts.refused.error)
    assert f"schema id {NEW_ID} cannot be looked up: registry {server.url}" in error
    assert "lsst-alert-packet (ids 3" in error


def test_a_slow_registry_loses_nothing(
    broker: Broker, server: Registry, classifier: OnnxClassifier, alert: bytes
) -> None:
    server.delay_s = 1.0
    server.schemas[NEW_ID] = PackageSchemas().fetch(1101) or json.dumps(None)
    reader = Reader(broker, filled_topic(broker, alert), server, classifier, wait_s=600)
    reader.read(10)
    reader.source.close()
    assert reader.offsets() == Counter((p, o) for p in range(2) for o in range(5))
    assert not reader.reasons()
