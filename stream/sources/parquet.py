"""Alerts in Parquet, batch by batch: packets in a binary column, or rows of nested columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from stream.alerts import RefusedReason
from stream.refusal import Refusal
from stream.sources.parts import Part

__all__ = ["row_batches"]

_BUFFER_BYTES: Final = 2**20


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
                rows = _batch_rows(metadata, part.columns, max_rows, max_bytes)
                for batch in file.iter_batches(
                    rows, [group], columns=list(part.columns), use_threads=False
                ):
                    skip = max(0, start - at)
                    if skip < batch.num_rows:
                        yield at + skip, batch.slice(skip)
                    at += batch.num_rows
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
