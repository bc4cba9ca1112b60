"""One behaviour for every source: all messages, once, in order, bounded, resumable."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from models.errors import ConfigurationError
from stream.alerts import MessageBatch
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.sources import Source
from stream.sources.archive import ArchiveSource, alert_files
from stream.sources.kafka import KafkaSource
from stream.sources.memory import MemorySource
from stream.sources.parts import plan
from tests.archives import write_tarball
from tests.brokers import Broker

VALUES = [f"message {i}".encode() for i in range(25)]


@dataclass(frozen=True)
class Case:
    open: Callable[[], Source]
    """Opens the source at its first message that is not committed."""
    ends: bool
    resumes: bool


def _memory(tmp_path: Path) -> Case:
    opened: list[MemorySource] = []

    def open_source() -> Source:
        opened.append(MemorySource(VALUES, start=opened[-1].committed if opened else 0))
        return opened[-1]

    return Case(open_source, ends=True, resumes=True)


def _archive(tmp_path: Path) -> Case:
    for i, value in enumerate(VALUES):
        folder = tmp_path / f"night{i // 10}"
        folder.mkdir(exist_ok=True)
        (folder / f"{i:03d}.avro").write_bytes(value)
    return _parts(tmp_path)


def _parts(archive: Path) -> Case:
    (part,) = plan([archive])
    opened: list[ArchiveSource] = []

    def open_source() -> Source:
        start = opened[-1].committed if opened else 0
        opened.append(ArchiveSource.over([part], start))
        return opened[-1]

    return Case(open_source, ends=True, resumes=True)


def _tarball(tmp_path: Path) -> Case:
    return _parts(write_tarball(tmp_path / "night.tar", VALUES))


def _zipped_tarball(tmp_path: Path) -> Case:
    return _parts(write_tarball(tmp_path / "night.tar.gz", VALUES))


def _parquet(tmp_path: Path) -> Case:
    path = tmp_path / "night.parquet"
    pq.write_table(pa.table({"key": VALUES, "value": VALUES}), path, row_group_size=11)
    return _parts(path)


def _kafka(broker: Broker) -> Case:
    name = f"source-{uuid.uuid4().hex[:8]}"
    broker.create_topics([name], 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for value in VALUES:
        producer.produce(name, value, key=b"k")
    producer.flush()
    options = KafkaOptions(
        broker.bootstrap_servers,
        name,
        consumer={"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    )
    return Case(lambda: KafkaSource(options, [name], Metrics()), ends=False, resumes=True)


ARCHIVES = {
    "archive": _archive,
    "tarball": _tarball,
    "zipped tarball": _zipped_tarball,
    "parquet": _parquet,
}


@pytest.fixture(params=["memory", *ARCHIVES, "kafka"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "kafka":
        return _kafka(request.getfixturevalue("broker"))
    return {"memory": _memory, **ARCHIVES}[request.param](tmp_path)


def _batches(source: Source, size: int, wanted: int) -> Iterator[MessageBatch]:
    """Yield batches that are not empty until ``wanted`` messages came; fail if they never do."""
    deadline = time.monotonic() + 30
    got = 0
    while got < wanted:
        assert time.monotonic() < deadline, f"only {got} of {wanted} messages came"
        batch = source.poll(size, 0.05)
        assert batch is not None
        got += len(batch)
        if len(batch):
            yield batch


def test_all_messages_once_and_in_order(case: Case) -> None:
    source = case.open()
    batches = list(_batches(source, 7, len(VALUES)))
    assert [value for batch in batches for value in batch.values] == VALUES
    assert max(len(batch) for batch in batches) <= 7
    for batch in batches:
        n = len(batch)
        assert n == len(batch.topic) == len(batch.keys) == len(batch.offset)
        assert n == len(batch.partition) == len(batch.timestamp_ms)
    source.close()


def test_an_exhausted_source_says_so(case: Case) -> None:
    source = case.open()
    list(_batches(source, 100, len(VALUES)))
    after = source.poll(10, 0.05)
    if case.ends:
        assert after is None
    else:
        assert after is not None
        assert len(after) == 0
    source.close()


def test_committed_messages_do_not_come_again_and_others_do(case: Case) -> None:
    source = case.open()
    done, *_ = _batches(source, 5, 10)
    assert source.commit(done, 10.0)
    source.close()
    again = case.open()
    values = [v for batch in _batches(again, 100, 1) for v in batch.values]
    expected = VALUES[len(done) :] if case.resumes else VALUES
    assert values == expected[: len(values)]
    again.close()


def test_a_paused_source_loses_nothing(case: Case) -> None:
    source = case.open()
    values: list[bytes] = []
    for batch in _batches(source, 6, len(VALUES)):
        values += batch.values
        source.keep_alive(lambda: None)
        source.keep_alive(lambda: None)
    assert values == VALUES
    source.close()


def test_kafka_messages_keep_their_origin(broker: Broker) -> None:
    source = _kafka(broker).open()
    before_ms = time.time() * 1000 - 60_000
    batches = list(_batches(source, 100, len(VALUES)))
    assert [int(o) for b in batches for o in b.offset] == list(range(len(VALUES)))
    assert all((b.timestamp_ms > before_ms).all() for b in batches)
    assert {key for b in batches for key in b.keys} == {b"k"}
    source.close()


def test_kafka_refuses_a_broken_pattern_with_a_clear_error(broker: Broker) -> None:
    source = KafkaSource(KafkaOptions(broker.bootstrap_servers, "g"), ["^["], Metrics())
    with pytest.raises(ConfigurationError, match=r"refuses the topics \['\^\['\]"):
        source.poll(1, 0.0)


def test_lag_is_known_before_the_first_message(broker: Broker) -> None:
    statistics = {
        "topics": {
            "t": {
                "partitions": {
                    "0": {**_FETCHING, "stored_offset": 30, "committed_offset": 20},
                    "1": {**_FETCHING, "stored_offset": -1001, "committed_offset": 20},
                    "2": {**_FETCHING, "stored_offset": -1001, "committed_offset": -1001},
                    "-1": {"fetch_state": "none"},
                }
            }
        }
    }
    metrics = Metrics()
    source = KafkaSource(KafkaOptions(broker.bootstrap_servers, "g"), ["t"], metrics)
    source._on_statistics(json.dumps(statistics))
    lags = {
        int(sample.labels["partition"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "tinyt2_consumer_lag_messages"
    }
    assert lags == {0: 70, 1: 80, 2: 95}


_FETCHING = {"fetch_state": "active", "hi_offset": 100, "lo_offset": 5}


def test_names_that_are_not_utf8_can_be_replayed(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.avro"))
    path.write_bytes(b"x")
    batch = ArchiveSource([tmp_path]).poll(10, 0.0)
    assert batch is not None
    assert batch.topic[0].encode().endswith(b"/bad\\xff.avro")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_an_archive_without_alerts_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=name):
        ArchiveSource([tmp_path / name])


def test_a_file_that_is_named_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "alert.bin"
    path.write_bytes(b"x")
    assert alert_files([path]) == [path]


def test_a_file_is_not_input_and_output(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    path.write_bytes(b"x")
    (tmp_path / "link.parquet").symlink_to(path)
    with pytest.raises(ConfigurationError, match="input and output"):
        alert_files([path], out=tmp_path / "link.parquet")
    assert alert_files([path], out=tmp_path / "other.parquet") == [path]
