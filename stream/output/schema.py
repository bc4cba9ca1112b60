"""The output record: one Avro schema, and the Arrow schema that follows from it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

import fastavro
import pyarrow as pa

__all__ = ["CLASSIFICATION", "ELASTICC", "arrow_schema", "load_schema"]


def load_schema(name: str) -> dict[str, Any]:
    """Return the record schema in a file of this package, parsed."""
    text = files("stream.output").joinpath(name).read_text()
    parsed = fastavro.parse_schema(json.loads(text))
    assert isinstance(parsed, dict)
    return parsed


CLASSIFICATION: Final = load_schema("classification.avsc")
"""The record of tinyt2."""

ELASTICC: Final = load_schema("elasticc.avsc")
"""DESC's ELAsTiCC brokerClassification v0.9.1, with its upstream spelling."""

_ARROW: Final[dict[str, pa.DataType]] = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
}


def arrow_schema(schema: dict[str, Any] = CLASSIFICATION) -> pa.Schema:
    """Return the Arrow schema of an Avro record with nullable, enum, map and time fields."""
    return pa.schema([_arrow_field(field["name"], field["type"]) for field in schema["fields"]])


def _arrow_field(name: str, avro: Any) -> pa.Field:
    nullable = isinstance(avro, list)
    return pa.field(name, _arrow_type(avro[1] if nullable else avro), nullable=nullable)


def _arrow_type(avro: Any) -> pa.DataType:
    if isinstance(avro, str):
        return _ARROW[avro]
    if avro.get("logicalType") == "timestamp-millis":
        return pa.timestamp("ms", tz="UTC")
    if avro["type"] == "map":
        return pa.map_(pa.string(), _arrow_type(avro["values"]))
    if avro["type"] == "enum":
        return pa.string()
    return _ARROW[avro["type"]]
