"""Compiled schemas read what fastavro reads, bit for bit, or say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from stream.avro import confluent
from stream.avro.cells import VALUE, Fault
from stream.avro.container import MAGIC, HeaderCache, read_blocks
from stream.avro.framing import Block
from stream.avro.kernel import read_records
from stream.avro.program import UnsupportedSchemaError, compile_schema
from stream.avro.projection import ALERT, Kind, Layout, RecordFields, lay_out
from stream.avro.schemas import open_schemas
from stream.avro.tables import Tables
from stream.avro.writer import WriterSchema
from stream.refusal import Refusal
from stream.surveys import SURVEYS
from tests.avro_bytes import encoded, schemas

ALERTS = Path(__file__).parents[1] / "data" / "alerts"
CAPACITY = 2000

KINDS = {"n": Kind.NUMBER, "i": Kind.INTEGER, "s": Kind.SYMBOL, "x": Kind.TEXT}
TYPES = {
    "n": st.sampled_from(["int", "long", "float", "double", None]),
    "i": st.sampled_from(["int", "long", None]),
    "s": st.sampled_from(["string", "boolean", "enum", None]),
    "x": st.sampled_from(["string", None]),
}
MIXED = {"n": "double", "i": "long", "s": "string", "x": "string"}
LAYOUT = lay_out(
    (
        RecordFields(ALERT, {}, KINDS),
        RecordFields("must", {}, KINDS),
        RecordFields("may", {}, {"n": Kind.NUMBER}, may_be_absent=True),
        RecordFields("history", {}, KINDS, repeated=True, may_be_absent=True),
        RecordFields("other", {}, {"i": Kind.INTEGER}, repeated=True, may_be_absent=True),
    )
)
RECORD = {"type": "record", "fields": MIXED}
FIELDS = {
    **TYPES,
    "must": st.just(RECORD),
    "history": st.just({"type": "array", "items": RECORD}),
    "may": st.just({"type": "record", "fields": {"n": "float"}}),
    "other": st.just({"type": "array", "items": {"type": "record", "fields": {"i": "int"}}}),
}


def contents(tables: Tables, layout: Layout) -> dict[str, list[Any]]:
    """Return all cells of all tables: absent ones as None, others with their state."""
    found: dict[str, list[Any]] = {}
    for path, table in layout.tables.items():
        n = int(tables.cells.n_rows[table.number])
        found[path] = [tables.cells.parent[table.number, :n].tolist()]
        for name, slot in table.slots.items():
            for row in range(n):
                found[path].append((name, row, *_cell(tables, slot.number, slot.kind, row)))
    return found


def _cell(tables: Tables, slot: int, kind: Kind, row: int) -> tuple[int, object]:
    state = int(tables.cells.state[slot, row])
    value = int(tables.cells.values[slot, row])
    if state != VALUE:
        return state, None
    if kind is Kind.TEXT:
        start, length = value >> 32, value & 0xFFFFFFFF
        return state, tables.cells.text[start : start + length].tobytes()
    if kind is Kind.NUMBER and np.isnan(tables.cells.numbers[slot, row]):
        return state, "nan"
    return state, value


def by_fastavro(block: Block, schema: WriterSchema, layout: Layout) -> dict[str, list[Any]]:
    tables = Tables([layout], CAPACITY)
    for record in block.records(schema):
        tables.append(record, layout, 7)
    return contents(tables, layout)


def by_program(block: Block, schema: WriterSchema, layout: Layout) -> dict[str, list[Any]] | Fault:
    """Return the cells, or the fault; a program may not read a byte that is not the block's."""
    tables = Tables([layout], CAPACITY)
    code = compile_schema(schema, layout).code
    fault = np.zeros(4, np.int64)
    address = pa.py_buffer(block.data).address
    n, at = read_records(
        address, block.start, block.end, block.n_records, code, 7, tables.cells, fault
    )
    if fault[0] != Fault.NONE:
        assert block.start <= fault[1] <= block.end
        assert 0 <= fault[2] < len(code)
        return Fault(int(fault[0]))
    assert n == block.n_records
    block.check_end(at)
    return contents(tables, layout)


def whole(data: bytes, n_records: int) -> Block:
    return Block(data, 0, len(data), n_records, "the message")


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, int]:
    schema = draw(schemas(FIELDS))
    n_records = draw(st.integers(1, 2))
    return schema, b"".join(encoded(draw, schema, {}) for _ in range(n_records)), n_records


def accepted(definition: dict[str, Any]) -> WriterSchema:
    """Return a schema that is safe, and that a program can read."""
    try:
        schema = WriterSchema.parse(json.dumps(definition))
        compile_schema(schema, LAYOUT)
    except (Refusal, UnsupportedSchemaError):
        reject()
    return schema


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(messages())
def test_any_schema_any_encoding(message: tuple[dict[str, Any], bytes, int]) -> None:
    definition, data, n_records = message
    schema = accepted(definition)
    block = whole(data, n_records)
    try:
        expected = by_fastavro(block, schema, LAYOUT)
    except Refusal as refusal:
        assert "of another type" in refusal.error
        assert by_program(block, schema, LAYOUT) is Fault.WRONG_TYPE
        return
    assert by_program(block, schema, LAYOUT) == expected


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(messages(), st.data())
def test_damaged_bytes_of_any_schema(
    message: tuple[dict[str, Any], bytes, int], data: st.DataObject
) -> None:
    definition, body, n_records = message
    schema = accepted(definition)
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    assert_equal_or_refused(whole(bytes(damaged[:end]), n_records), schema, LAYOUT)


def assert_equal_or_refused(block: Block, schema: WriterSchema, layout: Layout) -> None:
    """Where both read the bytes they find the same; else at least one says that they are damaged.

    fastavro alone may fail: inside a field that is skipped, for text that is not UTF-8.
    """
    try:
        got = by_program(block, schema, layout)
    except Refusal:
        return
    if isinstance(got, Fault):
        return
    try:
        expected = by_fastavro(block, schema, layout)
    except Refusal as refusal:
        assert "utf-8" in refusal.error
        return
    assert got == expected


def blocks_of(packet: bytes) -> tuple[WriterSchema, list[Block]]:
    if packet.startswith(MAGIC):
        header = HeaderCache().find(packet)
        return header.schema, list(read_blocks(packet, header))
    schema = open_schemas().get(confluent.schema_id(packet))
    assert schema is not None
    return schema, [confluent.read_block(packet)]


def real_packets() -> list[Path]:
    kinds = ("ztf/*/*", "lsst/*/*/*", "made_up/lsst/*/*/*")
    return sorted(path for kind in kinds for path in ALERTS.glob(kind))


def read_real(path: Path) -> tuple[Layout, WriterSchema, list[Block]]:
    schema, blocks = blocks_of(path.read_bytes())
    (survey,) = (survey for survey in SURVEYS if survey.recognises(schema))
    return lay_out(survey.uses), schema, blocks


@pytest.mark.parametrize("path", real_packets(), ids=lambda path: path.name)
def test_real_packets(path: Path) -> None:
    layout, schema, blocks = read_real(path)
    for block in blocks:
        expected = by_fastavro(block, schema, layout)
        assert by_program(block, schema, layout) == expected
        assert len(expected[ALERT]) > block.n_records


DAMAGED = {
    name: read_real(next(ALERTS.glob(name)))
    for name in ("ztf/3.3/*", "ztf/4.02/*", "lsst/9.0/confluent/*", "made_up/lsst/11.1/*/*")
}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(list(DAMAGED)), st.data())
def test_damaged_real_packets(name: str, data: st.DataObject) -> None:
    layout, schema, (block,) = DAMAGED[name]
    body = bytearray(block.data[block.start : block.end])
    # Most of a packet are images: damage what stands before them.
    places = st.integers(0, min(len(body), 12_000) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(places) % len(body)
        change = data.draw(st.sampled_from(["flip", "set", "insert", "delete"]))
        if change == "flip":
            body[at] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif change == "insert":
            body[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        else:
            del body[at : at + data.draw(st.integers(1, 4))]
    assert_equal_or_refused(whole(bytes(body), 1), schema, layout)
