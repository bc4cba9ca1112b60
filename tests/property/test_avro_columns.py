"""Whatever the columns hold, their records are those that fastavro writes."""

from __future__ import annotations

from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from stream.output.avro_columns import avro_records
from stream.output.pieces import Column
from tests.records import write_body

KINDS: dict[str, tuple[Any, pa.DataType, st.SearchStrategy[Any]]] = {
    "int": ("int", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": ("float", pa.float32(), st.floats(width=32, allow_nan=False)),
    "string": ("string", pa.string(), st.text()),
    "bytes": ("bytes", pa.binary(), st.binary()),
    "time": (
        {"type": "long", "logicalType": "timestamp-millis"},
        pa.timestamp("ms", tz="UTC"),
        st.integers(0, 253_402_300_799_999),
    ),
    "enum": (
        {"type": "enum", "name": "E", "symbols": [f"s{i}" for i in range(100)]},
        pa.string(),
        st.integers(0, 99).map(lambda i: f"s{i}"),
    ),
    "map": (
        {"type": "map", "values": "float"},
        pa.map_(pa.string(), pa.float32()),
        st.dictionaries(st.text(), st.floats(width=32, allow_nan=False)),
    ),
    "array": (
        {
            "type": "array",
            "items": {
                "type": "record",
                "name": "R",
                "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"]}],
            },
        },
        pa.list_(pa.struct([("a", pa.int32()), ("b", pa.string())])),
        st.lists(
            st.fixed_dictionaries(
                {"a": st.integers(-(2**31), 2**31 - 1), "b": st.none() | st.text()}
            )
        ),
    ),
}


def schema_of(avro: Any) -> dict[str, Any]:
    fields = [{"name": "x", "type": avro}, {"name": "n", "type": "long"}]
    parsed = fastavro.parse_schema({"type": "record", "name": "Row", "fields": fields})
    assert isinstance(parsed, dict)
    return parsed


def arrow(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_map(kind):
        values = [v if v is None else list(v.items()) for v in values]
    return pa.array(values, kind)


def assert_as_fastavro(avro: Any, column: Column, values: list[Any]) -> None:
    schema = schema_of(avro)
    n = len(values)
    columns = {"x": column, "n": pa.array(range(n), pa.int64())}
    expected = [b"!" + write_body({"x": v, "n": i}, schema) for i, v in enumerate(values)]
    assert avro_records(schema, columns, n, prefix=b"!") == expected


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_columns(name: str, data: st.DataObject) -> None:
    avro, kind, present = KINDS[name]
    values = data.draw(st.lists(present, max_size=6))
    assert_as_fastavro(avro, arrow(values, kind), values)
    optional = data.draw(st.lists(st.none() | present, max_size=6))
    assert_as_fastavro(["null", avro], arrow(optional, kind), optional)
    start, end = sorted(data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6))))
    assert_as_fastavro(["null", avro], arrow(optional, kind)[start:end], optional[start:end])


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_values_that_stand_in_every_row(name: str, data: st.DataObject) -> None:
    avro, kind, present = KINDS[name]
    value = data.draw(st.none() | present)
    scalar = arrow([value], kind)[0]
    assert_as_fastavro(["null", avro], scalar, [value] * data.draw(st.integers(0, 3)))


@pytest.mark.parametrize("name", ["string", "bytes", "enum", "long", "time"])
@settings(deadline=None)
@given(data=st.data())
def test_dictionaries(name: str, data: st.DataObject) -> None:
    avro, kind, present = KINDS[name]
    values = data.draw(st.lists(st.none() | present))
    assert_as_fastavro(["null", avro], arrow(values, kind).dictionary_encode(), values)
    known = [value for value in values if value is not None]
    assert_as_fastavro(avro, arrow(known, kind).dictionary_encode(), known)


@pytest.mark.parametrize("name", KINDS)
def test_a_null_that_the_schema_does_not_allow_is_an_error(name: str) -> None:
    avro, kind, _ = KINDS[name]
    columns: list[Column] = [pa.nulls(2, kind), pa.scalar(None, kind)]
    for column in columns:
        with pytest.raises(DataError, match="field x holds a null"):
            avro_records(schema_of(avro), {"x": column, "n": pa.array([1, 2])}, 2)


def test_a_null_inside_a_map_is_an_error() -> None:
    avro, kind, _ = KINDS["map"]
    with pytest.raises(DataError, match="holds a null"):
        avro_records(schema_of(avro), {"x": pa.array([[("a", None)]], kind), "n": pa.array([1])}, 1)


def test_an_unknown_symbol_is_an_error() -> None:
    avro, kind, _ = KINDS["enum"]
    columns = {"x": pa.array(["s100", None, "s1"], kind), "n": pa.array([1, 2, 3])}
    with pytest.raises(DataError, match="not in the enum E: s100"):
        avro_records(schema_of(["null", avro]), columns, 3)
