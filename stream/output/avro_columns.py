"""Columns to Avro: all records of a batch at once, as their schema says.

Covers what the output records use: enum, boolean, string, bytes, int, long, float, times
in ms, maps, arrays, records, and unions of null and one of these but a record.
Source: the binary encoding of the Avro 1.11 specification; maps and
arrays are written as one block, as fastavro does.

A null runs through a column's pieces until its union turns it into a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import DataError
from models.jit import compiled
from stream.output.pieces import Column, Piece, constant, encode_distinct, join, joined_lists

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernel)

__all__ = ["avro_records", "compile_kernel"]

_MAX_VARINT: Final = 10
"""Bytes of the longest 64-bit number."""

_NULL: Final = constant(None)
_ZERO: Final = constant(b"\x00")
_ONE_BYTE: Final = constant(b"\x01")
_NOTHING: Final = constant(b"")


def avro_records(
    schema: Mapping[str, Any], columns: Mapping[str, Column], n: int, prefix: bytes = b""
) -> list[bytes]:
    """Return the Avro bodies of n records, given a column for every field.

    ``prefix`` comes before each. Raises `DataError` for a null where the schema
    allows none, and for an unknown symbol.
    """
    pieces: list[Piece] = [prefix]
    for field in schema["fields"]:
        encoded = encode_distinct(columns[field["name"]], partial(_pieces, field["type"]))
        if any(_has_null(piece) for piece in encoded):
            raise DataError(
                f"field {field['name']} holds a null, which its type {field['type']} does not "
                "allow",
                field["name"],
            )
        pieces += encoded
    rows: list[bytes] = join(pieces, n).to_pylist()
    return rows


def compile_kernel() -> None:
    """Compile what numba has to, so that the first batch is not late."""
    _varints(pa.array([0], pa.int64()))


def _has_null(piece: Piece | None) -> bool:
    return piece is None or (not isinstance(piece, bytes) and piece.null_count > 0)


def _pieces(avro: Any, values: pa.Array) -> list[Piece]:
    """Return the pieces of the values of one Avro type."""
    if isinstance(avro, list):
        return _nullable(avro, values)
    name = avro if isinstance(avro, str) else avro["type"]
    return _ENCODERS[name](avro, values)


def _nullable(union: list[Any], values: pa.Array) -> list[Piece]:
    null, other = union
    assert null == "null"
    if values.null_count == len(values):
        return [b"\x00"]
    pieces: list[Piece] = [b"\x02", *_pieces(other, values)]
    return [join(pieces, len(values)).fill_null(_ZERO)] if values.null_count else pieces


def _boolean(avro: Any, values: pa.Array) -> list[Piece]:
    return [pc.if_else(values, _ONE_BYTE, _ZERO)]


def _int(avro: Any, values: pa.Array) -> list[Piece]:
    return [_varints(values if values.type == pa.int32() else values.cast(pa.int32()))]


def _long(avro: Any, values: pa.Array) -> list[Piece]:
    return [_varints(values.view(pa.int64()))]


def _float(avro: Any, values: pa.Array) -> list[Piece]:
    # Arrow keeps numbers as Avro writes them, little-endian.
    return [values.view(pa.binary(4)).cast(pa.binary())]


def _string(avro: Any, values: pa.Array) -> list[Piece]:
    return [_varints(pc.binary_length(values)), values.view(pa.binary())]


def _enum(avro: Any, values: pa.Array) -> list[Piece]:
    symbol = pc.index_in(values, pa.array(avro["symbols"], values.type))
    if symbol.null_count > values.null_count:
        unknown = sorted(set(values.drop_null().to_pylist()) - set(avro["symbols"]))
        raise DataError(f"not in the enum {avro['name']}: {', '.join(unknown)}", unknown)
    return [_varints(symbol)]


def _map(avro: Any, values: pa.Array) -> list[Piece]:
    items = [*_string("string", values.keys), *_pieces(avro["values"], values.items)]
    return _block(values, join(items, len(values.keys)))


def _array(avro: Any, values: pa.Array) -> list[Piece]:
    items = values.values
    return _block(values, join(_pieces(avro["items"], items), len(items)))


def _block(lists: pa.Array, items: pa.BinaryArray) -> list[Piece]:
    if items.null_count:
        raise DataError(f"a value of type {lists.type} holds a null", lists.type)
    count = np.diff(lists.offsets.to_numpy())
    counts = pa.array(count, pa.int64(), mask=lists.is_null().to_numpy(zero_copy_only=False))
    # The count of an empty list is the zero that ends a list.
    end = pc.if_else(pa.array(count == 0), _NOTHING, _ZERO)
    return [_varints(counts), joined_lists(lists, items), end]


def _record(avro: Any, values: pa.Array) -> list[Piece]:
    if values.null_count:
        raise DataError(f"a record {avro['name']} is null", avro["name"])
    return [
        piece
        for field in avro["fields"]
        for piece in _pieces(field["type"], values.field(field["name"]))
    ]


_ENCODERS: Final[dict[str, Callable[[Any, pa.Array], list[Piece]]]] = {
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _float,
    "string": _string,
    "bytes": _string,
    "enum": _enum,
    "map": _map,
    "array": _array,
    "record": _record,
}


def _varints(values: pa.Array) -> pa.BinaryArray:
    """Return each signed number as Avro writes int and long; nulls stay."""
    known = values.fill_null(pa.scalar(0, values.type)) if values.null_count else values
    # A copy even of int64: Arrow's is read-only, for which numba would compile once more.
    numbers = known.to_numpy().astype(np.int64)
    data = np.empty(_MAX_VARINT * len(numbers), np.uint8)
    splits = np.zeros(len(numbers) + 1, np.int32)
    _write_varints(numbers, data, splits)
    buffers = [None, pa.py_buffer(splits), pa.py_buffer(data)]
    encoded = pa.BinaryArray.from_buffers(pa.binary(), len(numbers), buffers)
    return pc.if_else(values.is_valid(), encoded, _NULL) if values.null_count else encoded


@compiled
def _write_varints(numbers, data, splits):  # type: ignore[no-untyped-def]
    """Write numbers int64[n] in zigzag and 7 bits a byte to ``data``; number i ends at [i + 1]."""
    at = 0
    for i in range(len(numbers)):
        rest = np.uint64((numbers[i] << 1) ^ (numbers[i] >> 63))
        while rest > np.uint64(0x7F):
            data[at] = (rest & np.uint64(0x7F)) | np.uint64(0x80)
            rest >>= np.uint64(7)
            at += 1
        data[at] = rest
        at += 1
        splits[i + 1] = at
