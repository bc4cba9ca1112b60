"""How often values occur, counted in columns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["tally"]


def tally(*columns: pa.DictionaryArray) -> Counter[tuple[str, ...]]:
    """Return how often each combination of values occurs in columns [n]; a null is ``""``."""
    values = [["", *column.dictionary.to_pylist()] for column in columns]
    code = np.zeros(len(columns[0]), np.int64)
    for column, of in zip(columns, values, strict=True):
        code = len(of) * code + _row_in(column)
    counts = np.bincount(code)
    total: Counter[tuple[str, ...]] = Counter()
    for found in np.flatnonzero(counts).tolist():
        place = np.unravel_index(found, [len(of) for of in values])
        total[tuple(of[i] for of, i in zip(values, place, strict=True))] += int(counts[found])
    return total


def _row_in(column: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """Return the place of each value in the dictionary, from 1 on; 0 where it is null."""
    place = column.indices
    if place.null_count:
        place = place.fill_null(pa.scalar(-1, place.type))
    row: npt.NDArray[np.int64] = place.to_numpy().astype(np.int64) + 1
    return row
