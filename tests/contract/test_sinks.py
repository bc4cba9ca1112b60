"""One behaviour for every sink: after close, all records of all outcomes can be read."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import ConfigurationError, DeliveryError
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.output.encoders import encode_avro
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sinks import Sink, partitions
from stream.sinks.files import open_file_sink
from stream.sinks.kafka import KafkaSink
from stream.sinks.memory import MemorySink
from stream.sinks.partitions import PartitionedSink
from stream.sources.memory import message_batch
from tests.brokers import Broker
from tests.records import read_record, read_topic

Key = tuple[str, str, int | None]
"""Outcome, reason or empty, alert id."""


@dataclass(frozen=True)
class Case:
    sink: Sink
    read: Callable[[], list[Key]]


def _memory(tmp_path: Path) -> Case:
    sink = MemorySink()
    return Case(sink, lambda: [_key(row) for row in sink.table().to_pylist()])


def _parquet(tmp_path: Path) -> Case:
    path = tmp_path / "out.parquet"
    return Case(
        open_file_sink(path), lambda: [_key(row) for row in pq.read_table(path).to_pylist()]
    )


def _jsonl(tmp_path: Path) -> Case:
    path = tmp_path / "out.jsonl"
    return Case(
        open_file_sink(path),
        lambda: [_key(json.loads(line)) for line in path.read_text().splitlines()],
    )


def _kafka(broker: Broker) -> Case:
    output, dead = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("sink", "dead"))
    broker.create_topics([output, dead], 1)
    options = KafkaOptions(broker.bootstrap_servers, producer={"message.timeout.ms": 5000})

    def read() -> list[Key]:
        keys = []
        for message in read_topic(broker.bootstrap_servers, output):
            record = read_record(message.value())
            assert message.key() == record["object_id"].encode()
            keys.append(_key(record))
        for message in read_topic(broker.bootstrap_servers, dead):
            headers = dict(message.headers() or [])
            assert set(headers) >= {"error", "source_topic", "source_partition", "source_offset"}
            reason = headers["reason"]
            assert isinstance(reason, bytes)
            keys.append(("dead_letter", reason.decode(), None))
        return keys

    return Case(KafkaSink(options, output, dead, encode_avro), read)


def _key(row: dict[str, Any]) -> Key:
    return row["outcome"], row["reason"] or "", row["alert_id"]


@pytest.fixture(params=["memory", "parquet", "jsonl", "kafka"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "kafka":
        return _kafka(request.getfixturevalue("broker"))
    return {"memory": _memory, "parquet": _parquet, "jsonl": _jsonl}[request.param](tmp_path)


def test_every_outcome_can_be_read_back(case: Case, outcomes: Outcomes) -> None:
    for _ in range(2):
        case.sink.write(outcomes)
        assert case.sink.flush(10.0)
    case.sink.close()
    alerts = outcomes.alert_table().to_pylist()
    dead = outcomes.dead_letter_table().to_pylist()
    assert sorted(case.read()) == sorted([_key(row) for row in alerts + dead] * 2, key=_sortable)


def _sortable(key: Key) -> tuple[str, str, int]:
    return key[0], key[1], key[2] or 0


def test_dead_letters_keep_their_bytes(broker: Broker, outcomes: Outcomes) -> None:
    case = _kafka(broker)
    case.sink.write(outcomes)
    assert case.sink.flush(10.0)
    assert isinstance(case.sink, KafkaSink)
    dead = read_topic(broker.bootstrap_servers, case.sink._dead_letter_topic)
    refused = [outcomes.messages.values[i] for i in outcomes.alerts.refused.message]
    assert Counter(message.value() or b"" for message in dead) == Counter(refused)


def test_a_dead_letter_too_large_for_its_topic_does_not_stop_the_stream(
    broker: Broker, pipeline: Pipeline
) -> None:
    broker.create_topics(["large-out", "large-dead"], 1)
    options = KafkaOptions(broker.bootstrap_servers, producer={"message.max.bytes": 100_000})
    sink = KafkaSink(options, "large-out", "large-dead", encode_avro)
    sink.write(pipeline.process(message_batch([b"rubbish" * 100_000, b"rubbish"])))
    assert _flushed(sink)
    whole, shortened = read_topic(broker.bootstrap_servers, "large-dead")
    assert whole.value() == b"rubbish"
    headers = dict(shortened.headers() or [])
    assert headers["payload_omitted_bytes"] == b"700000"
    assert headers["reason"] == b"not_avro"
    assert headers["source_offset"] == b"0"


def test_a_record_too_large_for_its_topic_becomes_a_dead_letter_of_its_message(
    broker: Broker, outcomes: Outcomes
) -> None:
    names = outcomes.alerts.object_id.to_pylist()
    large = 3
    names[large] = "x" * 200_000
    alerts = dataclasses.replace(outcomes.alerts, object_id=pa.array(names, pa.string()))
    output, dead = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("sink", "dead"))
    broker.create_topics([output, dead], 1)
    options = KafkaOptions(broker.bootstrap_servers, producer={"message.max.bytes": 150_000})
    metrics = Metrics()
    sink = KafkaSink(options, output, dead, encode_avro, metrics)
    sink.write(dataclasses.replace(outcomes, alerts=alerts))
    assert _flushed(sink)
    assert len(read_topic(broker.bootstrap_servers, output)) == len(alerts) - 1
    letters = [dict(m.headers() or []) for m in read_topic(broker.bootstrap_servers, dead)]
    (letter,) = [headers for headers in letters if headers["reason"] == b"record_too_large"]
    row = outcomes.alerts.message[large]
    assert letter["source_offset"] == str(outcomes.messages.offset[row]).encode()
    assert str(outcomes.alerts.alert_id[large]).encode() in (letter["error"] or b"")
    assert len(letters) == outcomes.n_refused + 1
    assert metrics.registry.get_sample_value("tinyt2_records_refused_total") == 1


def test_each_of_equal_records_too_large_is_a_dead_letter_of_its_own_message(
    broker: Broker, outcomes: Outcomes
) -> None:
    output, dead = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("sink", "dead"))
    broker.create_topics([output, dead], 1)
    options = KafkaOptions(broker.bootstrap_servers, producer={"message.max.bytes": 150_000})
    sink = KafkaSink(options, output, dead, lambda o: [b"x" * 200_000] * len(o.alerts))
    sink.write(outcomes)
    assert _flushed(sink)
    letters = [dict(m.headers() or []) for m in read_topic(broker.bootstrap_servers, dead)]
    too_large = [h for h in letters if h["reason"] == b"record_too_large"]
    offsets = outcomes.messages.offset[outcomes.alerts.message]
    assert Counter(h["source_offset"] for h in too_large) == Counter(
        str(offset).encode() for offset in offsets
    )


def test_more_nights_than_files_may_be_open(
    outcomes: Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_MAX_OPEN", 2)
    monkeypatch.setattr(partitions, "_BUFFER_BYTES", 0)
    sink = PartitionedSink(tmp_path, "a.parquet")
    for _ in range(2):
        sink.write(outcomes)
    sink.close()
    assert set(sink.files) == {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.parquet")}
    folders = Counter(str(Path(file).parent) for file in sink.files)
    assert len(folders) > 3
    assert set(folders.values()) == {2}
    table = pa.concat_tables(
        [pq.read_table(tmp_path / file, partitioning=None) for file in sink.files]
    )
    expected = [outcomes.alert_table(), outcomes.dead_letter_table()] * 2
    assert Counter(table["offset"].to_pylist()) == Counter(
        offset for part in expected for offset in part["offset"].to_pylist()
    )


def test_a_batch_larger_than_the_producers_queue_is_delivered(
    broker: Broker, outcomes: Outcomes
) -> None:
    broker.create_topics(["queue-out", "queue-dead"], 1)
    options = KafkaOptions(broker.bootstrap_servers, producer={"queue.buffering.max.messages": 5})
    sink = KafkaSink(options, "queue-out", "queue-dead", encode_avro)
    sink.write(outcomes)
    assert _flushed(sink)
    servers = broker.bootstrap_servers
    assert len(read_topic(servers, "queue-out")) == len(outcomes.alerts)
    assert len(read_topic(servers, "queue-dead")) == outcomes.n_refused


def _flushed(sink: Sink) -> bool:
    """Flush as `Delivery` does, again and again."""
    return any(sink.flush(1.0) for _ in range(30))


def test_an_alert_without_an_object_has_no_key(broker: Broker, outcomes: Outcomes) -> None:
    nameless = pa.array([""] * len(outcomes.alerts), pa.string())
    case = _kafka(broker)
    assert isinstance(case.sink, KafkaSink)
    case.sink.write(
        dataclasses.replace(
            outcomes, alerts=dataclasses.replace(outcomes.alerts, object_id=nameless)
        )
    )
    assert _flushed(case.sink)
    messages = read_topic(broker.bootstrap_servers, case.sink._topic)
    assert [message.key() for message in messages] == [None] * len(outcomes.alerts)


def test_a_missing_output_topic_is_a_clear_error(broker: Broker) -> None:
    sink = KafkaSink(KafkaOptions(broker.bootstrap_servers), "nowhere", "nothing", encode_avro)
    with pytest.raises(ConfigurationError, match="'nowhere' does not exist: create it"):
        sink.check(10.0)


def test_an_unreachable_cluster_is_a_clear_error() -> None:
    sink = KafkaSink(KafkaOptions("127.0.0.1:1"), "out", "dead", encode_avro)
    with pytest.raises(ConfigurationError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        sink.check(0.5)


def test_a_wrong_librdkafka_key_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such\.key"):
        KafkaSink(KafkaOptions("x:1", client={"no.such.key": 1}), "out", "dead", encode_avro)


def test_a_record_that_kafka_never_takes_is_an_error(outcomes: Outcomes) -> None:
    options = KafkaOptions("127.0.0.1:1", producer={"message.timeout.ms": 100})
    sink = KafkaSink(options, "out", "dead", encode_avro)
    sink.write(outcomes)
    with pytest.raises(DeliveryError, match="refused a record for good"):
        _flushed(sink)


def test_an_output_file_appears_only_when_it_is_complete(
    tmp_path: Path, outcomes: Outcomes
) -> None:
    path = tmp_path / "night.parquet"
    sink = open_file_sink(path)
    sink.write(outcomes)
    assert not path.exists()
    sink.close()
    assert path.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_an_unknown_file_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\.parquet or \.jsonl"):
        open_file_sink(tmp_path / "out.csv")


def test_a_folder_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent"):
        open_file_sink(tmp_path / "absent" / "out.parquet")
