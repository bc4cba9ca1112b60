"""Columns of fixed size that kernels fill, and what kernels say of their work.

Notation: S slots (columns), T tables, R rows that fit into a table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ABSENT",
    "SYMBOL_BYTES",
    "TEXT_BYTES",
    "TOO_LONG",
    "UNUSABLE",
    "VALUE",
    "Cells",
    "Event",
    "Fault",
    "KnownSchemas",
]

ABSENT: Final = 0
"""State of a cell: null, or not in the schema."""
VALUE: Final = 1
"""State of a cell with a value."""
UNUSABLE: Final = 2
"""State of a cell whose value has a type that cannot be used."""
TOO_LONG: Final = 3
"""State of a cell whose text is too long to be one that is meant."""

SYMBOL_BYTES: Final = 7
"""Longest symbol, so that one fits a cell with its length."""
TEXT_BYTES: Final = 1024
"""Longest text that is kept."""


class Fault(IntEnum):
    """Why reading stopped inside a record; kernels return it negated in place of a position."""

    NONE = 0
    TRUNCATED = 1
    """A value reaches past the end of the record's bytes."""
    BAD_LONG = 2
    """A number has more than 10 bytes."""
    BAD_LENGTH = 3
    """A length or count is negative."""
    BAD_INDEX = 4
    """A union or an enum has no branch or symbol of that index."""
    BAD_UTF8 = 5
    """A string that is kept is not UTF-8."""
    FULL = 6
    """The columns are full."""
    WRONG_TYPE = 7
    """A field that is needed has a type that cannot be used."""


class Event(IntEnum):
    """Why `read_messages` returned."""

    DONE = 0
    FULL = 1
    """The columns are full: empty them and go on with the same message."""
    LOOK = 2
    """A message that is not of a known schema, is compressed or is damaged."""


class Cells(NamedTuple):
    """Columns that the kernels fill, of fixed size."""

    values: npt.NDArray[np.int64]
    """[S, R] integers; symbols (`pack_symbol`); texts as offset << 32 | length."""
    numbers: npt.NDArray[np.float64]
    """[S, R] the same memory as numbers."""
    state: npt.NDArray[np.uint8]
    """[S, R]"""
    parent: npt.NDArray[np.int32]
    """[T, R] the message of an alert, the row of the alert of an entry."""
    n_rows: npt.NDArray[np.int64]
    """[T]"""
    text: npt.NDArray[np.uint8]
    """Bytes of the texts."""
    n_text: npt.NDArray[np.int64]
    """[1] how many of them are used."""


class KnownSchemas(NamedTuple):
    """Programs of the schemas that messages may have, H of containers and I of ids."""

    code: npt.NDArray[np.int32]
    """[n, 4] all programs, one behind another."""
    header: npt.NDArray[np.uint8]
    """Bytes of the container headers without their sync markers."""
    header_start: npt.NDArray[np.int64]
    """[H + 1]"""
    header_entry: npt.NDArray[np.int64]
    """[H] first instruction."""
    header_hits: npt.NDArray[np.int64]
    """[H] how many messages had this header."""
    schema_id: npt.NDArray[np.int64]
    """[I]"""
    schema_entry: npt.NDArray[np.int64]
    """[I] first instruction."""
    schema_hits: npt.NDArray[np.int64]
    """[I] how many messages had this id."""
