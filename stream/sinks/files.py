"""Outcomes in one file: Parquet or JSON lines, dead letters included.

The file appears under its name when it is complete; until then it is called
``<name>.partial``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import ConfigurationError, DeliveryError
from stream.output.json_columns import json_records
from stream.output.outcomes import Outcomes
from stream.output.schema import arrow_schema

__all__ = ["FileSink", "open_file_sink"]


class _TableWriter(Protocol):
    """What `pyarrow.parquet.ParquetWriter` offers, and all that a file format needs."""

    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """Write tables to ``<path>.partial`` and rename it when closed."""

    def __init__(self, path: Path, open_writer: Callable[[Path], _TableWriter]) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder: name a file", path)
        try:
            self._writer = open_writer(self._partial)
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}", path) from error

    def write(self, outcomes: Outcomes) -> None:
        """Append the records of a batch."""
        try:
            for table in (outcomes.alert_table(), outcomes.dead_letter_table()):
                if table.num_rows:
                    self._writer.write_table(table)
        except OSError as error:
            raise DeliveryError(f"cannot write {self._partial}: {error}", error) from error

    def flush(self, wait_s: float) -> bool:
        """Return True: the file counts as a whole, when it is closed."""
        return True

    def close(self) -> None:
        """Complete the file and give it its name."""
        try:
            self._writer.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise DeliveryError(f"cannot write {self._path}: {error}", error) from error


class _JsonLinesWriter:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write_table(self, table: pa.Table) -> None:
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        self._file.writelines(line + b"\n" for line in json_records(columns, len(table)))

    def close(self) -> None:
        self._file.close()


def _parquet_writer(path: Path) -> _TableWriter:
    writer: _TableWriter = pq.ParquetWriter(path, arrow_schema(), compression="zstd")
    return writer


_WRITERS: Final[dict[str, Callable[[Path], _TableWriter]]] = {
    ".parquet": _parquet_writer,
    ".jsonl": _JsonLinesWriter,
}


def open_file_sink(path: Path) -> FileSink:
    """Open the sink that a file's ending asks for; `ConfigurationError` for others."""
    if path.suffix not in _WRITERS:
        raise ConfigurationError(
            f"cannot tell the format of {path}: end its name in {' or '.join(_WRITERS)}", path
        )
    return FileSink(path, _WRITERS[path.suffix])
