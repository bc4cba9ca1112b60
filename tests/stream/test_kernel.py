"""What the kernel says of bytes that do not follow their schema: which byte, which field."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stream.alerts import AlertBatch, RefusedReason
from stream.avro.cells import Fault
from stream.avro.kernel import read_records
from stream.avro.program import MAX_OPS, Op, Program, UnsupportedSchemaError, compile_schema
from stream.avro.projection import ALERT, Kind, Layout, RecordFields, lay_out
from stream.avro.tables import Tables
from stream.avro.writer import WriterSchema
from stream.decode import MAX_FALLBACK_BYTES, Decoder
from stream.sources.memory import message_batch
from tests.avro_bytes import long_bytes
from tests.packets import CANDIDATE, ZTF, container, only_for_fastavro, record, ztf_record

LAYOUT = lay_out(
    (
        RecordFields(ALERT, {}, {"text": Kind.TEXT, "last": Kind.INTEGER}),
        RecordFields("history", {}, {"n": Kind.NUMBER}, repeated=True),
    )
)


def compiled(*fields: tuple[str, Any], layout: Layout = LAYOUT) -> Program:
    return compile_schema(WriterSchema.parse(json.dumps(record(*fields))), layout)


def read(program: Program, data: bytes, tables: Tables | None = None) -> tuple[Fault, int, str]:
    """Return the fault with its byte and field."""
    fault = np.zeros(4, np.int64)
    cells = (Tables([LAYOUT], 10) if tables is None else tables).cells
    address = pa.py_buffer(data).address
    read_records(address, 0, len(data), 1, program.code, 0, cells, fault)
    kind, at, instruction, which = fault.tolist()
    return Fault(kind), at, program.names[instruction][which]


SKIPPED = [
    ("fixed", {"type": "fixed", "name": "F", "size": 4}),
    ("double", "double"),
    ("a", ["null", "float"]),
    ("b", ["null", "float"]),
    ("c", ["null", "float"]),
    ("m", ["null", "long"]),
    ("k", ["null", "int"]),
    ("long", "long"),
    ("bytes", "bytes"),
    ("enum", {"type": "enum", "name": "E", "symbols": ["x", "y"]}),
    ("map", {"type": "map", "values": "int"}),
]
GOOD = b"".join(
    [
        *(b"1234", b"12345678", b"\x02ffff", b"\0", b"\x02ffff"),
        *(b"\x02\x05", b"\0", long_bytes(-(2**63)), b"\x04ab", b"\x02", b"\x02\x02k\x06\0"),
    ]
)


def test_good_bytes_of_all_that_is_skipped() -> None:
    program = compiled(*SKIPPED, ("last", "long"))
    tables = Tables([LAYOUT], 10)
    assert read(program, GOOD + long_bytes(-5), tables)[0] is Fault.NONE
    assert tables.rows(LAYOUT.tables[ALERT]).integer("last").tolist() == [-5]


def test_every_truncation_names_the_byte_and_the_field_it_is_in() -> None:
    program = compiled(*SKIPPED)
    starts = [0, 4, 12, 17, 18, 23, 25, 26, 36, 39, 40, len(GOOD)]
    for end in range(len(GOOD)):
        kind, at, name = read(program, GOOD[:end])
        assert kind is Fault.TRUNCATED
        assert at <= end
        index = max(i for i, start in enumerate(starts) if start <= end)
        # Fixed sizes are skipped together, and named by the first of them.
        names = {SKIPPED[max(index, 0)][0], "fixed"} if index < 2 else {SKIPPED[index][0]}
        assert name in names, end


@pytest.mark.parametrize(
    ("at", "data", "kind", "name"),
    [
        (12, b"\x04", Fault.BAD_INDEX, "a"),
        (17, b"\x06", Fault.BAD_INDEX, "b"),
        (18, b"\x01", Fault.BAD_INDEX, "c"),
        (23, b"\x04", Fault.BAD_INDEX, "m"),
        (25, b"\x03", Fault.BAD_INDEX, "k"),
        (26, b"\xff" * 10, Fault.BAD_LONG, "long"),
        (36, b"\x03", Fault.BAD_LENGTH, "bytes"),
        (36, b"\x7e", Fault.TRUNCATED, "bytes"),
        (39, b"\x04", Fault.BAD_INDEX, "enum"),
        (40, b"\x7e", Fault.TRUNCATED, "map"),
        (41, b"\x7e", Fault.TRUNCATED, "map"),
    ],
)
def test_damage_names_the_field(at: int, data: bytes, kind: Fault, name: str) -> None:
    damaged = GOOD[:at] + data + GOOD[at + len(data) :]
    found, where, field = read(compiled(*SKIPPED), damaged)
    assert (found, field) == (kind, name)
    assert where <= at


def test_an_index_in_more_bytes_than_it_needs_is_read() -> None:
    long_way = GOOD[:17] + b"\x80\x00" + b"\x82\x00" + GOOD[19:]
    program = compiled(*SKIPPED, ("last", "long"))
    tables = Tables([LAYOUT], 10)
    assert read(program, long_way + b"\x02", tables)[0] is Fault.NONE
    assert tables.rows(LAYOUT.tables[ALERT]).integer("last").tolist() == [1]


def test_texts_are_utf8_as_python_has_it() -> None:
    program = compiled(("text", "string"))
    generator = random.Random(0)
    leads = [0x41, 0x7F, 0x80, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
    tails = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
    good = 0
    for _ in range(20_000):
        n = generator.randint(0, 3)
        data = bytes([generator.choice(leads), *generator.choices(tails, k=n)])
        try:
            data.decode()
            expected = Fault.NONE
        except UnicodeDecodeError:
            expected = Fault.BAD_UTF8
        good += expected is Fault.NONE
        assert read(program, long_bytes(len(data)) + data)[0] is expected, data
    assert 500 < good < 15_000


@pytest.mark.parametrize("count", [2**62, -(2**62), -(2**63)])
def test_counts_beyond_all_bytes_end_at_once(count: int) -> None:
    program = compiled(("skipped", {"type": "array", "items": "int"}), ("last", "int"))
    kind, at, name = read(program, long_bytes(count) + b"\0" * 100)
    assert kind in (Fault.TRUNCATED, Fault.BAD_LENGTH)
    assert (at, name) == (0, "skipped")


def test_a_history_that_does_not_fit_leaves_nothing_behind() -> None:
    row = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "float"}]}
    program = compiled(("text", "string"), ("history", {"type": "array", "items": row}))
    tables = Tables([LAYOUT], 10)
    data = b"\x02x" + long_bytes(11) + struct.pack("<11f", *range(11)) + b"\0"
    assert read(program, data, tables) == (Fault.FULL, 43, "history")
    assert len(tables) == tables.cells.n_text[0] == 0
    data = b"\x02x" + long_bytes(10) + struct.pack("<10f", *range(10)) + b"\0"
    assert read(program, data, tables)[0] is Fault.NONE
    assert tables.rows(LAYOUT.tables["history"]).number("n", -1, 99).tolist() == list(range(10))


def doubling(length: int) -> list[tuple[str, Any]]:
    """Return fields whose types each hold the one before twice."""
    fields: list[tuple[str, Any]] = [("f0", {**record(("x", "string")), "name": "R0"})]
    for i in range(1, length):
        inner = record(("x", f"R{i - 1}"), ("y", f"R{i - 1}"))
        fields.append((f"f{i}", {**inner, "name": f"R{i}"}))
    return fields


def test_a_program_is_bounded() -> None:
    assert len(compiled(*doubling(8)).code) < MAX_OPS
    with pytest.raises(UnsupportedSchemaError, match=f"longer than {MAX_OPS}"):
        compiled(*doubling(20))


def test_what_is_skipped_is_one_instruction_where_it_can_be() -> None:
    program = compiled(*SKIPPED[:7])
    assert program.code[:, 0].tolist() == [
        *(Op.ROW, Op.SKIP, Op.OPTIONAL, Op.OPTIONAL_LONG, Op.END),
    ]
    assert program.names[2] == ["a", "b", "c"]


def decode(decoder: Decoder, *values: bytes) -> AlertBatch:
    return decoder.decode(message_batch(list(values)))


def test_the_error_of_a_message_names_byte_and_field() -> None:
    decoder = Decoder()
    good, bad = ztf_record(1), ztf_record(2, CANDIDATE + b"\x08")
    value = container(ZTF, [good, bad])
    batch = decode(decoder, container(ZTF, [good]), value)
    assert batch.alert_id.tolist() == [1]
    assert batch.refused.reason == [RefusedReason.CORRUPT_BODY]
    assert batch.refused.error == [
        "record 2 of block 1 does not follow its schema Alert: the index of a union or enum is "
        f"out of range at byte {len(value) - 17}, field candidate.other"
    ]


def test_a_message_of_more_alerts_than_the_tables_hold() -> None:
    n = 50_000
    many = container(ZTF, [ztf_record(i) for i in range(n)])
    batch = decode(Decoder(), container(ZTF, [ztf_record(-1)]), many, many[:-17] + b"xxxx")
    np.testing.assert_array_equal(batch.alert_id, np.arange(-1, n))
    np.testing.assert_array_equal(batch.message, np.minimum(np.arange(n + 1), 1))
    assert batch.curves.n_observations.tolist() == [1] * (n + 1)
    assert batch.refused.message == [2]


def test_a_late_fault_takes_back_alerts_that_the_tables_had_to_hand_on() -> None:
    records = [ztf_record(i) for i in range(50_000)]
    records[-1] = ztf_record(0, CANDIDATE + b"\x08")
    batch = decode(Decoder(), container(ZTF, records), container(ZTF, [ztf_record(7)]))
    assert batch.alert_id.tolist() == [7]
    assert batch.curves.n_observations.tolist() == [1]
    assert "record 50000 of block 1" in batch.refused.error[0]


def test_a_schema_that_only_fastavro_reads_gives_the_same_alerts() -> None:
    decoder = Decoder()
    odd, first, last = only_for_fastavro(5), ztf_record(4), ztf_record(6)
    batch = decode(decoder, container(ZTF, [first]), odd, container(ZTF, [last]))
    assert batch.alert_id.tolist() == [4, 5, 6]
    assert batch.object_id.to_pylist() == ["ZTF"] * 3
    assert batch.message.tolist() == [0, 1, 2]
    assert decoder.fallbacks == {"Odd": 1}


def test_fastavro_reads_no_more_than_its_objects_may_take() -> None:
    batch = decode(Decoder(), only_for_fastavro(1, padding=MAX_FALLBACK_BYTES))
    assert batch.refused.reason == [RefusedReason.INVALID_SCHEMA]
    assert "only the general decoder reads schema Odd" in batch.refused.error[0]
    assert len(decode(Decoder(), only_for_fastavro(1, padding=1000))) == 1


def test_senders_cannot_name_more_schemas_than_are_counted_apart() -> None:
    decoder = Decoder()
    decode(decoder, *(only_for_fastavro(i, name=f"Odd{i}") for i in range(20)))
    assert len(decoder.fallbacks) == 17
    assert decoder.fallbacks["other"] == 4


def test_too_many_entries_are_said_to_be_too_many() -> None:
    names = ("jd", "fid", "magpsf", "sigmapsf", "isdiffpos", "diffmaglim")
    row = {**record(*((name, "boolean") for name in names)), "name": "R"}
    history = {"name": "prv_candidates", "type": {"type": "array", "items": row}}
    schema = {**ZTF, "fields": [*ZTF["fields"], history]}
    n = 100_000
    value = ztf_record(1) + long_bytes(n) + b"\0" * 6 * n + b"\0"
    batch = decode(Decoder(), container(schema, [value]), container(ZTF, [ztf_record(7)]))
    assert batch.alert_id.tolist() == [7]
    assert batch.refused.reason == [RefusedReason.INVALID_FIELD]
    assert "more than 20000 entries" in batch.refused.error[0]
