"""Confluent wire format, the framing of LSST alerts: byte 0, schema id, body.

The id is a 4-byte big-endian integer; for Rubin it is 100 x major + minor of
the schema version (DMTN-093). The body is one record without a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Final

from stream.alerts import RefusedReason
from stream.avro.writer import Record, WriterSchema
from stream.refusal import Refusal

__all__ = ["MAGIC", "read_records", "schema_id"]

MAGIC: Final = b"\0"

_HEADER: Final = 5


def schema_id(value: bytes) -> int:
    """Return the schema id of a framed message; `Refusal` when it ends inside the header."""
    if len(value) < _HEADER:
        raise Refusal(
            RefusedReason.TOO_SHORT,
            f"message has {len(value)} bytes, its Confluent header alone needs {_HEADER}",
        )
    return int.from_bytes(value[1:_HEADER], "big")


def read_records(value: bytes, schema: WriterSchema) -> Iterator[Record]:
    """Yield the one record behind the header; it must end where the message ends."""
    body = BytesIO(value + b"\0")
    body.seek(_HEADER)
    record = schema.read(body)
    left = len(value) - body.tell()
    if left < 0:
        raise Refusal(
            RefusedReason.CORRUPT_BODY,
            f"record of schema {schema.name} reads past the end of the message",
        )
    if left > 0:
        raise Refusal(
            RefusedReason.TRAILING_BYTES,
            f"{left} bytes are left over after the record of schema {schema.name}",
        )
    yield record
