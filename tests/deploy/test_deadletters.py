from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from stream.alerts import Headers, MessageBatch
from stream.librdkafka import KafkaOptions, open_producer
from stream.output.encoders import encode_avro
from stream.pipeline import Pipeline
from stream.sinks.kafka import KafkaSink
from stream.sources.memory import message_batch
from stream.sources.topic import TopicReader
from tests.brokers import Broker, fresh_name
from tests.records import read_topic

Run = Callable[..., subprocess.CompletedProcess[str]]
HEADERS: Headers = [("trace", b"abc"), ("trace", None)]


@dataclasses.dataclass
class Letters:
    """A dead-letter topic with four letters and one message that is none."""

    servers: str
    source: str
    other: str
    dead: str

    def environment(self) -> dict[str, str]:
        return {
            "TINYT2__KAFKA__BOOTSTRAP_SERVERS": self.servers,
            # Commands work beside a service, never under its name.
            "TINYT2__KAFKA__DELIVERY": "exactly-once",
            "TINYT2__KAFKA__GROUP_INSTANCE_ID": "one",
            "TINYT2__OUTPUT__TOPIC": f"{self.dead}-out",
            "TINYT2__OUTPUT__DEAD_LETTER_TOPIC": self.dead,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "deploy.cli", "dead-letters", *arguments],
            env={**os.environ, **self.environment(), "COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=200,
        )


@pytest.fixture(scope="module")
def whole(alerts_dir: Path) -> bytes:
    return next(alerts_dir.glob("ztf/3.3/*")).read_bytes()


@pytest.fixture
def stored(broker: Broker, pipeline: Pipeline, whole: bytes) -> Letters:
    name = fresh_name("cli")
    letters = Letters(broker.bootstrap_servers, name, f"{name}-b", f"{name}-dead")
    broker.create_topics([letters.source, letters.other], 2)
    broker.create_topics([letters.dead, f"{letters.dead}-out"], 1)
    options = KafkaOptions(letters.servers)
    sink = KafkaSink(options, f"{letters.dead}-out", letters.dead, encode_avro)
    for batch in _batches(letters, whole):
        sink.write(pipeline.process(batch))
    assert any(sink.flush(1.0) for _ in range(30))
    producer = open_producer(options)
    producer.produce(letters.dead, b"somebody else's")
    assert producer.flush(30) == 0
    return letters


def _batches(letters: Letters, whole: bytes) -> list[MessageBatch]:
    first = message_batch([b"rubbish", whole[:-1], b""], topic=letters.source, first_offset=5)
    first.partition[:] = 1
    first = dataclasses.replace(
        first, keys=[b"k", None, None], headers=[HEADERS, None, None], tombstones=frozenset([2])
    )
    return [first, message_batch([b"\0\0"], topic=letters.other)]


def test_list_counts_and_filters(stored: Letters) -> None:
    done = stored.run("list")
    assert done.returncode == 0, done.stderr
    assert f"4 dead letters on {stored.dead}" in done.stdout
    assert "corrupt_container" in done.stdout
    filtered = stored.run("list", "--json", "--each", "--topic", stored.source, "--since", "1h")
    rows = [json.loads(line) for line in filtered.stdout.splitlines()]
    assert [row["reason"] for row in rows] == ["not_avro", "corrupt_container", "empty"]
    assert [row["bytes"] for row in rows][::2] == [7, None]
    assert {(row["source_topic"], row["source_partition"]) for row in rows} == {(stored.source, 1)}
    groups = stored.run("list", "--json", "--reason", "too_short")
    (group,) = map(json.loads, groups.stdout.splitlines())
    assert (group["count"], group["source_topic"], group["example"]) == (1, stored.other, "0:3")
    assert "0 dead letters" in stored.run("list", "--until", "2001-01-01").stdout
    lines = stored.run("list", "--each").stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("0:0  20")


def test_show_says_why_and_what_was_expected(stored: Letters, whole: bytes, tmp_path: Path) -> None:
    text = stored.run("show", "0:0").stdout
    for part in (
        "not_avro",
        "begins with b'rubbish'",
        "an Avro container (bytes 4f 62 6a 01)",
        f"{stored.source}[1] at 5",
        "header 'trace'  b'abc'",
        "header 'trace'  None",
        "7 bytes",
        "would be refused again",
        "00000000  72 75 62 62 69 73 68 ",
        "|rubbish|",
    ):
        assert part in text, text
    file = tmp_path / "packet.avro"
    shown = stored.run("show", "0:1", "--bytes", "16", "--save", str(file)).stdout
    assert "Avro container, codec null, schema " in shown
    assert "|Obj" in shown
    assert file.read_bytes() == whole[:-1]
    assert "a tombstone: no value" in stored.run("show", "0:2").stdout


def test_replay_sends_what_came(stored: Letters) -> None:
    arguments = ("replay", "--reason", "not_avro", "--reason", "empty")
    dry = stored.run(*arguments, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"2 letters to topic {stored.source}" in dry.stdout
    assert "nothing was sent" in dry.stdout
    assert read_topic(stored.servers, stored.source, 2) == []
    assert "2 letters sent and acknowledged" in stored.run(*arguments).stdout
    rubbish, tombstone = read_topic(stored.servers, stored.source, 2)
    hint = ("tinyt2_replay_of", f"{stored.dead}/0/0".encode())
    assert (rubbish.key(), rubbish.value(), rubbish.partition()) == (b"k", b"rubbish", 1)
    assert rubbish.headers() == [*HEADERS, hint]
    assert (tombstone.key(), tombstone.value()) == (None, None)
    elsewhere = stored.run("replay", "--to", stored.other)
    assert "4 letters sent" in elsewhere.stdout, elsewhere.stderr
    assert len(read_topic(stored.servers, stored.other, 2)) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "7"], "PARTITION:OFFSET"),
        (["show", "9:9"], "has no dead letter at 9:9"),
        (["show", "0:4"], "has no dead letter at 0:4"),
        (["list", "--reason", "bad"], "there is no reason 'bad'; there are empty, "),
        (["list", "--since", "tomorrow"], "'tomorrow' is not a time"),
        (["replay", "--to", "DEAD"], "which tinyt2 writes"),
        (["replay", "--to", "no-such-topic"], "'no-such-topic' does not exist"),
    ],
)
def test_mistakes_are_one_line(stored: Letters, arguments: list[str], says: str) -> None:
    done = stored.run(*(stored.dead if a == "DEAD" else a for a in arguments))
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_reading_ends_where_the_first_did(broker: Broker) -> None:
    topic = fresh_name("reader")
    broker.create_topics([topic], 2)
    producer = open_producer(KafkaOptions(broker.bootstrap_servers))

    def produce(values: list[bytes]) -> None:
        for i, value in enumerate(values):
            producer.produce(topic, value, partition=i % 2)
        assert producer.flush(30) == 0

    produce([b"a", b"b", b"c"])
    with TopicReader(KafkaOptions(broker.bootstrap_servers), topic) as reader:
        assert sorted(m.value() or b"" for m in reader) == [b"a", b"b", b"c"]
        produce([b"d", b"e"])
        assert sorted(m.value() or b"" for m in reader) == [b"a", b"b", b"c"]
        assert reader.ends == {0: 2, 1: 1}


def test_a_topic_that_is_missing(broker: Broker) -> None:
    options = KafkaOptions(broker.bootstrap_servers)
    with (
        TopicReader(options, fresh_name("absent")) as reader,
        pytest.raises(ConfigurationError, match="cannot be read"),
    ):
        list(reader)
