"""Read what the service published, with fastavro as a consumer would."""

from __future__ import annotations

import io
import time
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from stream.avro.container import Header, read_blocks
from stream.output.outcomes import Outcomes
from stream.output.schema import CLASSIFICATION

SINGLE_OBJECT_HEADER = 10
_READ_S: Final = 120.0


def read_record(value: str | bytes | None) -> dict[str, Any]:
    """Return one message of the default format."""
    assert isinstance(value, bytes)
    assert value[:2] == b"\xc3\x01"
    return read_body(value[SINGLE_OBJECT_HEADER:], CLASSIFICATION)


def read_body(body: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schemaless record; nothing may be left over."""
    buffer = io.BytesIO(body)
    record = fastavro.schemaless_reader(buffer, schema, None)
    assert buffer.tell() == len(body)
    assert isinstance(record, dict)
    return record


def container_records(value: bytes, header: Header) -> list[Any]:
    """Return all records of a container as the fall-back reads them."""
    blocks = read_blocks(value, header)
    return [record for block in blocks for record in block.records(header.schema)]


def rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return the records of the alerts, probabilities as a dict."""
    table: list[dict[str, Any]] = outcomes.alert_table().to_pylist(maps_as_pydicts="strict")
    return table


def read_topic(bootstrap_servers: str, topic: str, partitions: int = 1) -> list[Message]:
    """Return all messages of a topic that are there when its ends are reached."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    messages: list[Message] = []
    left, deadline = set(range(partitions)), time.monotonic() + _READ_S
    while left:
        assert time.monotonic() < deadline, f"{topic}: no end of partitions {left}"
        for message in consumer.consume(1000, 0.3):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
    consumer.close()
    return messages


def write_body(record: dict[str, Any], schema: dict[str, Any]) -> bytes:
    """Return a schemaless record as fastavro writes it."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()
