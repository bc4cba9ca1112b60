"""Confluent wire format, the framing of LSST alerts: byte 0, schema id, body.

The id is a 4-byte big-endian integer; for Rubin it is 100 x major + minor of
the schema version (DMTN-093). The body is one record without a header.
"""

from __future__ import annotations

from typing import Final

from stream.alerts import RefusedReason
from stream.avro.framing import Block
from stream.refusal import Refusal

__all__ = ["MAGIC", "read_block", "schema_id"]

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


def read_block(value: bytes) -> Block:
    """Return where the one record behind the header stands: it ends where the message ends."""
    return Block(value, _HEADER, len(value), 1, "the message")
