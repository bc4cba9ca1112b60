"""Open Parquet files, with errors that say what the file should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import DataError

__all__ = ["open_parquet"]


def open_parquet(path: Path, expected: str) -> Any:
    """Open a Parquet file; `DataError` with ``expected``, what it must hold, if that fails."""
    try:
        path.stat()
        return pq.ParquetFile(path, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file: {expected}", path) from error
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}): {expected}", path) from (
            error
        )
