from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream.alerts import RefusedReason
from stream.avro import confluent
from stream.avro.writer import WriterSchema
from stream.refusal import Refusal
from tests import reference

SCHEMA = {"type": "record", "name": "Row", "fields": [{"name": "b", "type": "bytes"}]}


def framed(body: bytes, schema_id: int = 1101) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


def read(value: bytes) -> list[Any]:
    return list(confluent.read_block(value).records(WriterSchema.parse(json.dumps(SCHEMA))))


def test_schema_id_is_big_endian() -> None:
    assert confluent.schema_id(b"\0\x00\x00\x04\x4d") == 1101


@pytest.mark.parametrize("length", range(1, 5))
def test_header_cut_short(length: int) -> None:
    with pytest.raises(Refusal) as caught:
        confluent.schema_id(framed(b"")[:length])
    assert caught.value.reason is RefusedReason.TOO_SHORT


def test_one_record_to_the_last_byte() -> None:
    assert read(framed(b"\x04ab")) == [{"b": b"ab"}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", RefusedReason.CORRUPT_BODY),
        (b"\x04a", RefusedReason.CORRUPT_BODY),
        (b"\x06ab", RefusedReason.CORRUPT_BODY),
        (b"\x03ab", RefusedReason.CORRUPT_BODY),
        (b"\xff" * 12, RefusedReason.CORRUPT_BODY),
        (b"\x04abc", RefusedReason.TRAILING_BYTES),
        (b"\x00\x00", RefusedReason.TRAILING_BYTES),
    ],
)
def test_bodies_of_the_wrong_length(body: bytes, reason: RefusedReason) -> None:
    with pytest.raises(Refusal) as caught:
        read(framed(body))
    assert caught.value.reason is reason


def test_reads_real_packets_like_fastavro(alerts_dir: Path) -> None:
    paths = list(alerts_dir.glob("**/lsst/*/confluent/*.avro"))
    for path in paths:
        value = path.read_bytes()
        text = json.dumps(reference.packet_schema(confluent.schema_id(value)))
        plain = json.loads(text.replace('"logicalType"', '"ignored"'))
        expected = fastavro.schemaless_reader(io.BytesIO(value[5:]), plain, None)
        schema = WriterSchema.parse(text)
        assert repr(list(confluent.read_block(value).records(schema))) == repr([expected])
    assert len(paths) == 13
