"""Alerts in Parquet, batch by batch: packets in a binary column, or rows of nested columns.

A file is not trusted: how far its columns unfold is bounded by what its metadata says, and
a packet that a dictionary repeats in every row counts as often as it is there. Metadata can
lie, and texts in nested columns are repeated unseen: give a replay of strangers' files a
memory limit (SECURITY.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream.alerts import RefusedReason
from stream.refusal import Refusal, shown
from stream.sources.parts import Form, Part

__all__ = ["row_batches"]

_BUFFER_BYTES: Final = 2**20
_MAX_RATIO: Final = 100
"""A column may be so many times as long as its compressed pages: alerts are dense."""
_FREE_BYTES: Final = 256 * 2**20
"""The ratio counts from here on."""
_REPEATED_BYTES: Final = 256 * 2**20
"""What the packets of a batch may have together, were each the longest of its dictionary."""


def row_batches(
    part: Part, start: int, max_rows: int, max_bytes: int
) -> Iterator[tuple[int, pa.RecordBatch | Refusal]]:
    """Yield batches of the columns that are read, each with the number of its first row.

    Rows before number ``start`` of the part are left out. A batch has about ``max_bytes`` at
    most and ends with its row group: where ``start`` is the end of a batch, the others are
    what they would have been. Damage stands last, in place of the row where it was met.
    """
    at = 0
    try:
        with pq.ParquetFile(part.paths[0], buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            for group in part.row_groups:
                metadata = file.metadata.row_group(group)
                if at + metadata.num_rows <= start:
                    at += metadata.num_rows
                    continue
                _check_ratio(metadata, part.columns)
                rows = _batch_rows(metadata, part.columns, max_rows, max_bytes)
                if part.form is Form.PACKETS:
                    rows = min(rows, _rows_of_longest(part, group))
                for batch in file.iter_batches(
                    rows, [group], columns=list(part.columns), use_threads=False
                ):
                    skip = max(0, start - at)
                    if skip < batch.num_rows:
                        yield at + skip, batch.slice(skip)
                    at += batch.num_rows
    except Refusal as refusal:
        if at >= start:
            yield at, refusal
    except (OSError, pa.ArrowException) as error:
        if at >= start:
            yield (
                at,
                Refusal(
                    RefusedReason.CORRUPT_ARCHIVE,
                    f"the rest of these row groups cannot be read: {error}",
                ),
            )


def _batch_rows(
    group: pq.RowGroupMetaData, columns: tuple[str, ...], max_rows: int, max_bytes: int
) -> int:
    """Return how many rows of a row group have ``max_bytes`` on average."""
    chunks = [group.column(i) for i in range(group.num_columns)]
    n_bytes: int = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in columns)
    n_rows: int = group.num_rows
    return max(1, min(max_rows, max_bytes * n_rows // max(n_bytes, 1)))


def _check_ratio(group: pq.RowGroupMetaData, columns: tuple[str, ...]) -> None:
    for chunk in (group.column(i) for i in range(group.num_columns)):
        unfolded: int = chunk.total_uncompressed_size
        limit = max(_FREE_BYTES, _MAX_RATIO * chunk.total_compressed_size)
        if chunk.path_in_schema in columns and unfolded > limit:
            raise Refusal(
                RefusedReason.CORRUPT_ARCHIVE,
                f"the rest of these row groups is not read: column {shown(chunk.path_in_schema)} "
                f"unfolds from {chunk.total_compressed_size} to {unfolded} bytes, more than "
                f"{_MAX_RATIO} times its size",
            )


def _rows_of_longest(part: Part, group: int) -> int:
    """Return how many packets fit into a batch, were each the longest of the dictionary."""
    (column,) = part.columns
    with pq.ParquetFile(
        part.paths[0], read_dictionary=[column], buffer_size=_BUFFER_BYTES, pre_buffer=False
    ) as file:
        first = next(file.iter_batches(1, [group], columns=[column], use_threads=False), None)
    if first is None or not isinstance(first.column(0), pa.DictionaryArray):
        return _REPEATED_BYTES
    longest = pc.max(pc.binary_length(first.column(0).dictionary)).as_py() or 1
    return max(1, _REPEATED_BYTES // longest)
