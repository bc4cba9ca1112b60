from __future__ import annotations

import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream.alerts import RefusedReason
from stream.avro import container
from stream.avro.container import Header, HeaderCache
from stream.avro.writer import MAX_NESTING, MAX_SCHEMA_BYTES, WriterSchema
from stream.refusal import Refusal
from tests.records import container_records

SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "string"}],
}
ROWS = [{"n": n, "s": "x" * (n % 7)} for n in range(50)]


def written(
    codec: str = "null", sync_interval: int = 100, rows: list[dict[str, Any]] = ROWS
) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, rows, codec=codec, sync_interval=sync_interval)
    return out.getvalue()


def long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


def framed(
    schema: object, *blocks: tuple[int, bytes], codec: bytes = b"null", sync: bytes = b"s" * 16
) -> bytes:
    """Return a container whose blocks are (count, data), written by hand."""
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    meta = {b"avro.codec": codec, b"avro.schema": text}
    pairs = b"".join(long(len(x)) + x for pair in meta.items() for x in pair)
    head = b"Obj\x01" + long(len(meta)) + pairs + long(0) + sync
    return head + b"".join(long(n) + long(len(data)) + data + sync for n, data in blocks)


def read(value: bytes) -> list[Any]:
    return container_records(value, HeaderCache().find(value))


def refused(value: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(value)
    return caught.value


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
@pytest.mark.parametrize("sync_interval", [1, 100, 100_000])
def test_reads_what_fastavro_writes(codec: str, sync_interval: int) -> None:
    assert read(written(codec, sync_interval)) == ROWS


def test_reads_real_packets_like_fastavro(alerts_dir: Path) -> None:
    paths = [*alerts_dir.glob("ztf/*/*.avro"), *alerts_dir.glob("lsst/*/container/*.avro")]
    for path in paths:
        value = path.read_bytes()
        assert repr(read(value)) == repr(list(fastavro.reader(io.BytesIO(value))))
    assert len(paths) > 20


def test_container_without_records() -> None:
    assert read(written(rows=[])) == []


def test_metadata_in_blocks_of_negative_count() -> None:
    value = written()
    assert value[4] == 4, "fastavro writes its two metadata entries as one block"
    header = HeaderCache().find(value)
    entries = value[5 : header.length - 1]
    negative = b"Obj\x01" + long(-2) + long(len(entries)) + entries + value[header.length - 1 :]
    assert read(negative) == ROWS


def test_codec_may_be_left_out() -> None:
    text = json.dumps(SCHEMA).encode()
    key = b"avro.schema"
    head = b"Obj\x01" + long(1) + long(len(key)) + key + long(len(text)) + text + long(0)
    row = long(7) + long(1) + b"a"
    value = head + b"s" * 16 + long(1) + long(len(row)) + row + b"s" * 16
    assert read(value) == [{"n": 7, "s": "a"}]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_every_truncation_is_refused_or_ends_between_blocks(codec: str) -> None:
    value = written(codec, rows=ROWS[:12], sync_interval=30)
    header = HeaderCache().find(value)
    whole = 0
    for end in range(header.length + 16, len(value)):
        try:
            records = container_records(value[:end], header)
        except Refusal as refusal:
            assert refusal.reason is RefusedReason.CORRUPT_CONTAINER
        else:
            assert records == ROWS[: len(records)]
            whole += 1
    assert whole < 12
    for end in range(4, header.length + 16, 5):
        assert refused(value[:end]).reason is RefusedReason.CORRUPT_CONTAINER


def test_every_sync_marker_is_compared() -> None:
    value = written(sync_interval=60)
    header = HeaderCache().find(value)
    sync = value[header.length : header.length + 16]
    at = value.find(sync, header.length + 16)
    number = 0
    while at >= 0:
        number += 1
        broken = refused(value[: at + 15] + bytes([value[at + 15] ^ 1]) + value[at + 16 :])
        assert broken.reason is RefusedReason.CORRUPT_CONTAINER
        assert broken.error == (
            f"container is damaged: sync marker of block {number} at byte {at} does not match"
        )
        at = value.find(sync, at + 16)
    assert number > 2


ROW = long(7) + long(1) + b"a"


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([(-1, ROW)], RefusedReason.CORRUPT_CONTAINER),
        ([(2**62, ROW)], RefusedReason.CORRUPT_CONTAINER),
        ([(1, b"")], RefusedReason.CORRUPT_CONTAINER),
        ([(0, ROW)], RefusedReason.TRAILING_BYTES),
        ([(1, ROW + b"x")], RefusedReason.TRAILING_BYTES),
        ([(2, ROW + b"x")], RefusedReason.CORRUPT_BODY),
        ([(1, ROW[:-1])], RefusedReason.CORRUPT_BODY),
        ([(1, long(7) + long(-1) + b"a")], RefusedReason.CORRUPT_BODY),
        ([(1, long(7) + long(3) + b"a"), (1, ROW)], RefusedReason.CORRUPT_BODY),
        ([(1, long(7) + long(1) + b"\xff")], RefusedReason.CORRUPT_BODY),
    ],
)
def test_blocks_that_lie(blocks: list[tuple[int, bytes]], reason: RefusedReason) -> None:
    assert refused(framed(SCHEMA, *blocks)).reason is reason


def test_negative_block_size() -> None:
    value = framed(SCHEMA) + long(1) + long(-5) + b"x" * 40
    assert "claims 1 records in -5 bytes" in refused(value).error


def test_number_that_does_not_end() -> None:
    assert refused(b"Obj\x01" + b"\xff" * 20).reason is RefusedReason.CORRUPT_CONTAINER


def test_unknown_codec_is_named() -> None:
    refusal = refused(framed(SCHEMA, (1, ROW), codec=b"xz"))
    assert refusal.reason is RefusedReason.CORRUPT_CONTAINER
    assert "'xz' is not one of null, deflate, snappy" in refusal.error


def deflated(data: bytes) -> bytes:
    squeezed = zlib.compressobj(wbits=-15)
    return squeezed.compress(data) + squeezed.flush()


def test_deflate_is_bounded() -> None:
    """Each of the blocks alone is small enough; together they are many times the message."""
    rng = random.Random(1)
    again = rng.randbytes(8192)
    text = b"".join((again + rng.randbytes(400)).hex().encode() for _ in range(300))
    assert len(text) < container.MAX_DECOMPRESSED_BYTES < 2 * len(text)
    block = 1, deflated(long(7) + long(len(text)) + text)
    assert len(read(framed(SCHEMA, block, codec=b"deflate"))) == 1
    refusal = refused(framed(SCHEMA, block, block, codec=b"deflate"))
    assert refusal.reason is RefusedReason.CORRUPT_CONTAINER
    assert "block 2 unfolds to more than" in refusal.error


def test_small_message_cannot_unfold_to_many_records() -> None:
    """A block of 6 kB would become a gigabyte of records."""
    n = 3_000_000
    bomb = deflated(b"\0" * 2 * n)
    assert len(bomb) < 6_000
    refusal = refused(framed(SCHEMA, (n, bomb), codec=b"deflate"))
    assert refusal.reason is RefusedReason.CORRUPT_CONTAINER
    assert f"more than {container.MAX_RATIO} times its size" in refusal.error


def test_deflate_must_end_with_its_block() -> None:
    for data in (deflated(ROW)[:-1], deflated(ROW) + b"x" * 5, b"\xff\xff"):
        refusal = refused(framed(SCHEMA, (1, data), codec=b"deflate"))
        assert refusal.reason is RefusedReason.CORRUPT_CONTAINER


def test_snappy_is_bounded_and_checked() -> None:
    value = written("snappy", rows=ROWS[:1])
    at = value.rindex(value[-16:], 0, -16) + 16
    good = value[at + 2 : -16]
    assert read(framed(SCHEMA, (1, good), codec=b"snappy")) == ROWS[:1]
    for data in (good[:-1] + bytes([good[-1] ^ 1]), b"", b"abc", b"\xff\xff\xff\xff\x0f" + good):
        refusal = refused(framed(SCHEMA, (1, data), codec=b"snappy"))
        assert refusal.reason is RefusedReason.CORRUPT_CONTAINER


def test_header_is_parsed_once_per_distinct_bytes() -> None:
    cache = HeaderCache()
    first, again, other = written(), written(rows=ROWS[:1]), written("deflate")
    assert first[-16:] != again[-16:], "sync markers differ"
    assert cache.find(first) is cache.find(again)
    assert cache.find(other) is not cache.find(first)
    assert (cache.hits, cache.misses) == (2, 2)


def test_header_cache_forgets_the_least_recently_used() -> None:
    cache = HeaderCache(capacity=2)
    a, b, c = (framed({**SCHEMA, "name": name}) for name in "abc")
    for value in (a, b, a, c, a):
        cache.find(value)
    assert (cache.hits, cache.misses) == (2, 3)
    cache.find(b)
    assert cache.misses == 4


def field(schema: object) -> dict[str, object]:
    return {"type": "record", "name": "Row", "fields": [{"name": "x", "type": schema}]}


def chain(length: int) -> dict[str, object]:
    """Return a schema whose text is flat, but whose records nest ``length`` deep."""
    fields: list[dict[str, object]] = [{"name": "f0", "type": {**SCHEMA, "name": "R0"}}]
    for i in range(1, length):
        inner = [{"name": "x", "type": f"R{i - 1}"}]
        fields.append(
            {"name": f"f{i}", "type": {"type": "record", "name": f"R{i}", "fields": inner}}
        )
    return {"type": "record", "name": "Row", "fields": fields}


def doubling(length: int) -> dict[str, object]:
    """Return a schema whose types each hold the one before twice: counted naively, endless."""
    fields: list[dict[str, object]] = [{"name": "f0", "type": {**SCHEMA, "name": "R0"}}]
    for i in range(1, length):
        inner = [{"name": name, "type": f"R{i - 1}"} for name in "xy"]
        fields.append(
            {"name": f"f{i}", "type": {"type": "record", "name": f"R{i}", "fields": inner}}
        )
    return {"type": "record", "name": "Row", "fields": fields}


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'"long"',
        b"{}",
        b'{"type": "record"}',
        b'{"type": "record", "name": "Row", "fields": 3}',
        b'{"type": "record", "name": "Row", "fields": [], "__fastavro_parsed": true}',
        b'{"type": "record", "name": "a", "fields": [{"name": "x", "type": "b"}]}',
        json.dumps(SCHEMA).encode() + b" " * MAX_SCHEMA_BYTES,
        {"type": "array", "items": "long"},
        [SCHEMA],
        {"type": "record", "name": "Row", "fields": []},
        {"type": "record", "name": "Row", "fields": [{"name": [], "type": "long"}]},
        {"type": "record", "name": "Row", "fields": [{"name": "x", "type": "long"}] * 2},
        field("null"),
        field({"type": "array", "items": "null"}),
        field({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}),
        field({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}),
        field({"type": "map", "values": "null"}),
        field("Row"),
        field(["null", "Row"]),
        field({"type": "array", "items": "Row"}),
        chain(MAX_NESTING + 1),
        chain(5000),
    ],
    ids=repr,
)
def test_schemas_that_are_not_safe_to_read_by(schema: object) -> None:
    refusal = refused(framed(schema, (1, b"\x02" * 100_000)))
    assert refusal.reason is RefusedReason.INVALID_SCHEMA
    assert refusal.error.startswith("schema cannot be used: ")
    assert len(refusal.error) <= 600


def test_safe_schemas_that_look_odd() -> None:
    for schema in (
        field(["null", {"type": "null"}, "long"]),
        field({"type": "map", "values": ["null", "long"]}),
        field({"type": "long"}),
        field({"type": "enum", "name": "E", "symbols": ["a"]}),
        chain(MAX_NESTING - 2),
        doubling(MAX_NESTING - 2),
    ):
        WriterSchema.parse(json.dumps(schema))


def test_schema_missing_from_header() -> None:
    value = b"Obj\x01" + long(0) + b"s" * 16
    assert refused(value).reason is RefusedReason.INVALID_SCHEMA


def test_logical_types_do_not_cost_a_record() -> None:
    schema = field({"type": "long", "logicalType": "timestamp-micros"})
    assert read(framed(schema, (1, long(2**62)))) == [{"x": 2**62}]


def test_random_bytes_after_a_good_header() -> None:
    generator = random.Random(1)
    header = HeaderCache().find(written())
    start = written()[: header.length + 16]
    for length in range(200):
        with pytest.raises(Refusal):
            container_records(start + generator.randbytes(length + 1), header)


def test_fields_are_found_through_unions_arrays_and_names() -> None:
    row = {**SCHEMA, "name": "Inner"}
    fields = [
        {"name": "direct", "type": row},
        {"name": "named", "type": "Inner"},
        {"name": "optional", "type": ["null", {"type": "array", "items": ["null", "Inner"]}]},
        {"name": "number", "type": "long"},
    ]
    schema = WriterSchema.parse(json.dumps({"type": "record", "name": "Outer", "fields": fields}))
    assert schema.name == "Outer"
    assert schema.fields() == frozenset({"direct", "named", "optional", "number"})
    for path in ("direct", "named", "optional"):
        assert schema.fields(path) == frozenset({"n", "s"})
    assert schema.fields("number") is None
    assert schema.fields("absent") is None


def test_header_says_what_it_found() -> None:
    header = HeaderCache().find(written("snappy"))
    assert isinstance(header, Header)
    assert header.codec == "snappy"
    assert header.schema.fields() == frozenset({"n", "s"})
