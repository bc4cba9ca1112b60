"""Rows of bytes, put together from columns of bytes.

A column has n rows. It is an Arrow array, a dictionary array, or a scalar where
all rows are equal; what encodes it is called once per distinct value then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Column", "Piece", "constant", "encode_distinct", "join", "joined_lists"]

Column: TypeAlias = "pa.Array | pa.Scalar"
"""n values, or one that stands in every row."""

Piece: TypeAlias = "bytes | pa.BinaryArray"
"""The same part of n rows: one value for all of them, or [n]."""


def constant(value: bytes | None) -> pa.BinaryScalar:
    """Return a value for Arrow's functions, which take long to guess the type of a Python value."""
    return pa.scalar(value, pa.binary())


def encode_distinct(column: Column, encode: Callable[[pa.Array], list[Piece]]) -> list[Piece]:
    """Return the pieces of a column; ``encode`` is given an array without a dictionary."""
    if isinstance(column, pa.Scalar):
        return [join(encode(pa.repeat(column, 1)), 1)[0].as_py()]
    if isinstance(column, pa.DictionaryArray):
        values, row = column.dictionary, column.indices
        if row.null_count:
            # A row that is null takes the value behind the last one.
            row = row.cast(pa.int64()).fill_null(pa.scalar(len(values), pa.int64()))
            values = pa.concat_arrays([values, pa.nulls(1, values.type)])
        return [join(encode(values), len(values)).take(row)]
    return encode(column)


def join(pieces: Iterable[Piece], n: int) -> pa.BinaryArray:
    """Return the rows [n] made of the pieces; a row is null where one of its pieces is."""
    columns: list[pa.BinaryArray] = []
    for same, neighbours in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        if same:
            columns.append(_repeat(b"".join(neighbours), n))
        else:
            columns += neighbours
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*columns, _repeat(b"", n))


def _repeat(value: bytes, n: int) -> pa.BinaryArray:
    """Return a column of one value; `pa.repeat`, or a scalar in a join, costs ten times as much."""
    splits = np.arange(n + 1, dtype=np.int32) * np.int32(len(value))
    buffers = [None, pa.py_buffer(splits), pa.py_buffer(value * n)]
    return pa.BinaryArray.from_buffers(pa.binary(), n, buffers)


def joined_lists(lists: pa.Array, items: pa.BinaryArray) -> pa.BinaryArray:
    """Return [n] the items of each list (or map) end to end; nothing where it is null.

    ``items`` has one row for each of the values of ``lists``. No byte is copied:
    the items of a list are neighbours already.
    """
    _, ends, data = items.buffers()
    ends = np.frombuffer(ends, np.int32)[items.offset : items.offset + len(items) + 1]
    splits = ends[lists.offsets.to_numpy()]
    return pa.BinaryArray.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(splits), data])
