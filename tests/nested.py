"""Real alerts as nested columns, the way the Fink broker keeps them in Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa

__all__ = ["arrow_type", "nested_rows", "record_schema", "records_of"]

_PRIMITIVES = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
}


def records_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the writer schema and the records of a container."""
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        records: Any = list(reader)
    schema: Any = reader.writer_schema
    return schema, records


def record_schema(schema: Mapping[str, Any], columns: Iterable[str] | None = None) -> pa.Schema:
    """Return the Arrow schema of an Avro record, of the named columns only if any are named."""
    names: dict[str, Any] = {}
    fields = [
        pa.field(field["name"], arrow_type(field["type"], names)) for field in schema["fields"]
    ]
    return pa.schema([f for f in fields if columns is None or f.name in columns])


def arrow_type(avro: Any, names: dict[str, Any]) -> pa.DataType:
    """Return the Arrow type of an Avro type; of a union, that of its first branch not null."""
    if isinstance(avro, list):
        branches = [branch for branch in avro if branch != "null"]
        return arrow_type(branches[0], names)
    if isinstance(avro, str):
        return _PRIMITIVES[avro] if avro in _PRIMITIVES else names[avro]
    if avro["type"] == "record":
        names[avro["name"]] = pa.struct(
            [pa.field(f["name"], arrow_type(f["type"], names)) for f in avro["fields"]]
        )
        return names[avro["name"]]
    if avro["type"] == "array":
        return pa.list_(arrow_type(avro["items"], names))
    if avro["type"] == "map":
        return pa.map_(pa.string(), arrow_type(avro["values"], names))
    return arrow_type(avro["type"], names)


def nested_rows(path: Path, columns: Iterable[str] | None = None) -> pa.RecordBatch:
    """Return the alerts of a container as nested columns."""
    schema, records = records_of(path)
    arrow = record_schema(schema, None if columns is None else list(columns))
    return pa.RecordBatch.from_pylist(
        [{name: record.get(name) for name in arrow.names} for record in records], arrow
    )
