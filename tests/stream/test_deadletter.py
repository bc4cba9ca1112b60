from __future__ import annotations

import dataclasses
import uuid

import pytest
from confluent_kafka import Message

from stream.alerts import Headers
from stream.deadletter import ORIGINAL, REPLAY_OF, DeadLetter, Letter
from stream.librdkafka import KafkaOptions, open_producer
from stream.metrics import Metrics
from stream.output.encoders import encode_avro
from stream.pipeline import Pipeline
from stream.sinks.kafka import KafkaSink
from stream.sources.kafka import KafkaSource
from stream.sources.memory import message_batch
from tests.brokers import Broker
from tests.records import read_topic

HEADERS: Headers = [("trace", b"1"), ("trace", b"2"), ("none", None), ("reason", b"theirs")]


ORIGIN = ("alerts", 0, 4711)


def test_a_letter_is_read_back_as_it_was_written() -> None:
    batch = dataclasses.replace(
        message_batch([b"good", b"bad"], topic="alerts", first_offset=7, timestamp_ms=5),
        keys=[None, b"key"],
        headers=[None, HEADERS],
    )
    letter = DeadLetter.of(batch, 1, "not_avro", "message begins with 'bad'")
    assert (letter.key, letter.value) == (b"key", b"bad")
    read = Letter.read(_message(letter))
    assert read is not None
    assert (read.reason, read.error) == ("not_avro", "message begins with 'bad'")
    assert (read.source, read.source_partition, read.source_offset) == ("alerts", 0, 8)
    assert (read.key, read.value, read.original) == (b"key", b"bad", HEADERS)
    assert read.name == "3:99"
    assert read.replay_headers() == [*HEADERS, (REPLAY_OF, b"dead/3/99")]


def test_a_letter_that_is_sent_again_keeps_one_hint() -> None:
    batch = dataclasses.replace(message_batch([b"bad"]), headers=[[(REPLAY_OF, b"dead/0/1")]])
    read = Letter.read(_message(DeadLetter.of(batch, 0, "not_avro", "x")))
    assert read is not None
    assert read.replay_headers() == [(REPLAY_OF, b"dead/3/99")]


def test_a_shortened_letter_says_how_long_it_was() -> None:
    batch = dataclasses.replace(message_batch([b"x" * 500]), headers=[HEADERS], keys=[b"k" * 9999])
    short = DeadLetter.of(batch, 0, "not_avro", "x").without_payload()
    assert short.shortened
    assert (short.key, short.value) == (None, b"")
    assert not any(name.startswith(ORIGINAL) for name, _ in short.headers)
    read = Letter.read(_message(short))
    assert read is not None
    assert read.omitted_bytes == 500


@pytest.mark.parametrize(
    "headers", [[], [("reason", b"x")], [("original.reason", b"x"), ("source_topic", b"a")]]
)
def test_other_messages_are_no_letters(headers: Headers) -> None:
    assert Letter.read(_message(DeadLetter(None, b"", headers, ORIGIN))) is None


def test_strange_headers_of_a_letter_do_no_harm() -> None:
    names = ("reason", "source_topic", "source_partition", "source_offset")
    letter = DeadLetter(None, None, [(name, b"\xff") for name in names], ORIGIN)
    read = Letter.read(_message(letter))
    assert read is not None
    assert read.source_partition == read.source_offset == -1


def test_selection() -> None:
    read = Letter.read(_message(DeadLetter.of(message_batch([b"x"], topic="a"), 0, "empty", "e")))
    assert read is not None
    assert read.matches()
    assert read.matches(["empty", "other"], ["a"], 1234, 1235)
    assert not read.matches(["other"])
    assert not read.matches(sources=["b"])
    assert not read.matches(since_ms=1235)
    assert not read.matches(until_ms=1234)


def test_headers_and_tombstones_come_through_kafka(broker: Broker, pipeline: Pipeline) -> None:
    name = f"letters-{uuid.uuid4().hex[:8]}"
    topics = [name, f"{name}-out", f"{name}-dead"]
    broker.create_topics(topics, 1)
    options = KafkaOptions(broker.bootstrap_servers, name)
    producer = open_producer(options)
    producer.produce(name, None, key=b"gone", headers=HEADERS)
    producer.produce(name, b"")
    assert producer.flush(30) == 0
    source = KafkaSource(options, [name], Metrics())
    sink = KafkaSink(options, topics[1], topics[2], encode_avro)
    seen = 0
    while seen < 2:
        batch = source.poll(10, 5.0)
        assert batch is not None
        seen += len(batch)
        sink.write(pipeline.process(batch))
    assert any(sink.flush(1.0) for _ in range(30))
    source.close()
    tombstone, empty = map(Letter.read, read_topic(broker.bootstrap_servers, topics[2]))
    assert tombstone is not None
    assert empty is not None
    assert (tombstone.key, tombstone.value, tombstone.reason) == (b"gone", None, "empty")
    assert tombstone.original == HEADERS
    assert (empty.key, empty.value, empty.original) == (None, b"", [])


def _message(letter: DeadLetter) -> Message:
    return Message(
        topic="dead",
        partition=3,
        offset=99,
        key=letter.key,
        value=letter.value,
        headers=letter.headers,
        timestamp=(1, 1234),
    )
