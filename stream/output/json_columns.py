"""Columns to JSON: all records of a batch at once, as their Arrow types say.

Text is the same as that of Python's `json` and `datetime.isoformat`, numbers
with an exponent apart ("1e-7" for "1e-07").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream.output.pieces import Column, Piece, constant, encode_distinct, join

__all__ = ["json_records"]

_NEEDS_ESCAPE: Final = r"[^ !#-\[\]-~]"
"""Anything but printable ASCII, and the quote and the backslash."""

_NULL: Final = constant(b"null")


def json_records(columns: Mapping[str, Column], n: int) -> list[bytes]:
    """Return n JSON objects: times in ISO 8601, bytes in base64."""
    pieces: list[Piece] = []
    for name, column in columns.items():
        start = b", " if pieces else b"{"
        pieces += [start + json.dumps(name).encode() + b": ", *encode_distinct(column, _pieces)]
    rows: list[bytes] = join([*pieces, b"}"], n).to_pylist()
    return rows


def _pieces(values: pa.Array) -> list[Piece]:
    if values.null_count == len(values):
        return [b"null"]
    pieces = _present(values)
    return [join(pieces, len(values)).fill_null(_NULL)] if values.null_count else pieces


def _present(values: pa.Array) -> list[Piece]:
    """Return the pieces of values that are not null."""
    kind = values.type
    if pa.types.is_map(kind):
        return _object(values)
    if pa.types.is_timestamp(kind):
        return _time(values)
    if pa.types.is_floating(kind):
        return [_number(values)]
    if pa.types.is_binary(kind):
        return [b'"', _base64(values), b'"']
    if pa.types.is_string(kind):
        return [_quoted(values)]
    return [_bytes(values)]


def _bytes(values: pa.Array) -> pa.BinaryArray:
    return values.cast(pa.string()).view(pa.binary())


def _quoted(texts: pa.StringArray) -> pa.BinaryArray:
    quoted = join([b'"', texts.view(pa.binary()), b'"'], len(texts))
    odd = pc.match_substring_regex(texts, _NEEDS_ESCAPE).fill_null(False)
    escaped = [json.dumps(text).encode() for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(quoted, odd, pa.array(escaped, pa.binary())) if escaped else quoted


def _number(values: pa.FloatingPointArray) -> pa.BinaryArray:
    """Return numbers that are read back as the same float64; JSON has no NaN or infinity."""
    wide = values.cast(pa.float64())
    text = _bytes(wide)
    numbers = wide.to_numpy(zero_copy_only=False)
    whole = np.trunc(numbers) == numbers
    if whole.any():
        # A reader that infers types must not take 1.0 for an integer; 1e+10 cannot be mistaken.
        plain = pc.and_(pa.array(whole), pc.invert(pc.match_substring(text, "e")))
        text = pc.if_else(plain, join([text, b".0"], len(text)), text)
    finite = np.isfinite(numbers)
    return text if finite.all() else pc.if_else(pa.array(finite), text, _NULL)


def _time(times: pa.TimestampArray) -> list[Piece]:
    """Return times in ms of UTC as text, with microseconds where they are not 0."""
    # Without its zone, which is UTC, a time needs no database of time zones.
    text = times.view(pa.timestamp("ms")).cast(pa.string())
    iso = pc.binary_replace_slice(text, 10, 11, "T").view(pa.binary())
    text = join([iso, b'000+00:00"'], len(times)).view(pa.string())
    return [b'"', pc.replace_substring(text, ".000000", "").view(pa.binary())]


def _base64(values: pa.BinaryArray) -> pa.BinaryArray:
    # Only dead letters hold bytes: they are few, and Arrow knows no base64.
    texts = [None if v is None else base64.b64encode(v) for v in values.to_pylist()]
    return pa.array(texts, pa.binary())


def _object(maps: pa.MapArray) -> list[Piece]:
    keys = maps.keys.dictionary_encode()
    items = join([*encode_distinct(keys, _pieces), b": ", *_pieces(maps.items)], len(keys))
    missing = maps.is_null().to_numpy(zero_copy_only=False)
    offsets = pa.array(maps.offsets.to_numpy(), pa.int32(), mask=np.append(missing, False))
    return [b"{", pc.binary_join(pa.ListArray.from_arrays(offsets, items), b", "), b"}"]
