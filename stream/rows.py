"""Rows of a table as the messages that they never were."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa

__all__ = ["row_as_json"]


def row_as_json(rows: pa.RecordBatch, row: int) -> bytes:
    """Return a row as JSON, binary values in base64; ``b""`` where a text is not UTF-8."""
    try:
        (record,) = rows.slice(row, 1).to_pylist()
    except UnicodeDecodeError:
        return b""
    return json.dumps(record, default=_as_text).encode()


def _as_text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
