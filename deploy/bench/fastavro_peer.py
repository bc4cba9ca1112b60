"""The usual way to decode alerts: fastavro, every writer schema parsed once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro
from fastavro.types import Schema

from stream.avro.schemas import PackageSchemas

__all__ = ["FastavroReader", "Framed"]

_SYNC_BYTES = 16
_CONFLUENT_BYTES = 5


@dataclass(frozen=True, slots=True)
class Framed:
    """Where the records of a message are, and with what schema they were written."""

    blocks: tuple[tuple[int, int], ...]
    """Start and number of records of each block."""
    schema: Schema
    """Parsed."""
    plain_schema: dict[str, Any]
    """Not parsed."""

    def read(self, value: bytes) -> list[Any]:
        """Return the records, with the parsed schema."""
        return self._read(value, self.schema)

    def read_parsing(self, value: bytes) -> list[Any]:
        """Return the records after parsing the schema once more."""
        return self._read(value, fastavro.parse_schema(self.plain_schema))

    def _read(self, value: bytes, schema: Schema) -> list[Any]:
        stream = BytesIO(value)
        records = []
        for start, count in self.blocks:
            stream.seek(start)
            records += [fastavro.schemaless_reader(stream, schema, None) for _ in range(count)]
        return records


class FastavroReader:
    """Read messages: uncompressed containers, or Confluent framing."""

    def __init__(self) -> None:
        self._containers: list[tuple[bytes, Schema, dict[str, Any]]] = []
        self._by_id: dict[int, tuple[Schema, dict[str, Any]]] = {}

    def read(self, value: bytes) -> list[Any]:
        """Return the records of a message."""
        return self.open(value).read(value)

    def open(self, value: bytes) -> Framed:
        """Find the records of a message and their schema."""
        if value.startswith(b"Obj"):
            return self._open_container(value)
        number = int.from_bytes(value[1:_CONFLUENT_BYTES], "big")
        if number not in self._by_id:
            plain = _unparsed(json.loads(PackageSchemas().fetch(number) or "null"))
            self._by_id[number] = fastavro.parse_schema(plain), plain
        return Framed(((_CONFLUENT_BYTES, 1),), *self._by_id[number])

    def _open_container(self, value: bytes) -> Framed:
        for header, schema, plain in self._containers:
            if value.startswith(header):
                return Framed(_blocks(value, len(header) + _SYNC_BYTES), schema, plain)
        stream = BytesIO(value)
        plain = json.loads(fastavro.block_reader(stream).metadata["avro.schema"])
        # The reader stops behind the sync marker, which differs from message to message.
        header = value[: stream.tell() - _SYNC_BYTES]
        self._containers.append((header, fastavro.parse_schema(plain), plain))
        return self._open_container(value)


def _unparsed(schema: Any) -> Any:
    """Return a schema without the marks of fastavro's parser, which would pass it over."""
    if isinstance(schema, dict):
        return {k: _unparsed(v) for k, v in schema.items() if not k.startswith("__")}
    if isinstance(schema, list):
        return [_unparsed(part) for part in schema]
    return schema


def _blocks(value: bytes, at: int) -> tuple[tuple[int, int], ...]:
    """Return start and number of records of the blocks from a place on."""
    blocks = []
    while at < len(value):
        count, at = _long(value, at)
        size, at = _long(value, at)
        blocks.append((at, count))
        at += size + _SYNC_BYTES
    return tuple(blocks)


def _long(value: bytes, at: int) -> tuple[int, int]:
    """Return a number in Avro's encoding and the place behind it."""
    number = shift = 0
    while True:
        byte = value[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
