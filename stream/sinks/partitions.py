"""Outcomes in partitioned Parquet: ``survey=ztf/night=20201231/NAME.parquet``.

``night`` is the date by which a survey calls the night of the observation: for ZTF the
UTC date, which a night on Palomar lies within; for LSST that of noon UTC before it
(Rubin's ``dayObs``). Dead letters, and alerts without a date, are of night ``unknown``.
As usual, the two columns that are in the path are not in the file.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.errors import DeliveryError
from stream.output.outcomes import Outcomes
from stream.output.schema import arrow_schema
from stream.surveys import SURVEYS

__all__ = ["UNKNOWN", "PartitionedSink", "nights"]

UNKNOWN: Final = "unknown"
"""Survey of dead letters, and night of what has no date."""

_BUFFER_BYTES: Final = 64 * 2**20
_MAX_OPEN: Final = 256
"""Files at once: systems allow a process 1,024 of all kinds."""
_SCHEMA: Final = arrow_schema()
_IN_PATH: Final = "survey"
_IN_FILE: Final = _SCHEMA.remove(_SCHEMA.get_field_index(_IN_PATH))


def nights(table: pa.Table) -> pa.ChunkedArray:
    """Return the night of each record of a table in the output schema, ``YYYYMMDD``."""
    offset = pc.if_else(pc.is_null(table[_IN_PATH]), 0, 0)
    for survey in SURVEYS:
        is_survey = pc.fill_null(pc.equal(table[_IN_PATH], survey.name), False)
        offset = pc.if_else(is_survey, survey.night_offset_ms, offset)
    noon = pc.subtract(table["observation_time"].cast(pa.int64()), offset.cast(pa.int64()))
    date = noon.cast(pa.timestamp("ms"))
    return pc.fill_null(pc.strftime(date, "%Y%m%d"), UNKNOWN)


class PartitionedSink:
    """Write one file called ``name`` per survey and night below a folder.

    Records are kept in memory, up to about 64 MiB, so that files have few row groups. Of more
    nights than files may be open, some get another file, ``name`` with a number.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = Path(name)
        # By night, the one longest not written to first.
        self._writers: OrderedDict[str, pq.ParquetWriter] = OrderedDict()
        self._n_files: Counter[str] = Counter()
        self._files: list[str] = []
        self._tables: list[pa.Table] = []
        self._n_bytes = 0

    @property
    def files(self) -> list[str]:
        """Return the paths of the files, below the folder."""
        return sorted(self._files)

    def write(self, outcomes: Outcomes) -> None:
        """Take the records of a batch, dead letters included."""
        for table in (outcomes.alert_table(), outcomes.dead_letter_table()):
            if table.num_rows:
                self._tables.append(table)
                self._n_bytes += table.nbytes
        if self._n_bytes > _BUFFER_BYTES:
            self._write_out()

    def flush(self, wait_s: float) -> bool:
        """Return True: the files count as a whole, when the sink is closed."""
        return True

    def close(self) -> None:
        """Complete the files and have them on the disk."""
        self._write_out()
        try:
            for writer in self._writers.values():
                writer.close()
            for file in self._files:
                _sync(self._folder / file)
        except OSError as error:
            raise _failed(self._folder, error) from error

    def _write_out(self) -> None:
        """Write what is in memory, in order within each file."""
        table = pa.concat_tables([_SCHEMA.empty_table(), *self._tables])
        self._tables, self._n_bytes = [], 0
        survey = pc.fill_null(table[_IN_PATH], UNKNOWN)
        of = pc.binary_join_element_wise(
            pc.binary_join_element_wise("survey=", survey, ""),
            pc.binary_join_element_wise("night=", nights(table), ""),
            "/",
        )
        rows = table.drop_columns([_IN_PATH])
        for folder in sorted(pc.unique(of).to_pylist()):
            try:
                self._writer(folder).write_table(rows.filter(pc.equal(of, folder)))
            except OSError as error:
                raise _failed(self._folder, error) from error

    def _writer(self, folder: str) -> pq.ParquetWriter:
        if folder in self._writers:
            self._writers.move_to_end(folder)
            return self._writers[folder]
        if len(self._writers) == _MAX_OPEN:
            self._writers.popitem(last=False)[1].close()
        number = self._n_files[folder]
        name = self._name.with_stem(f"{self._name.stem}-{number}") if number else self._name
        path = self._folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = pq.ParquetWriter(path, _IN_FILE, compression="zstd")
        self._n_files[folder] += 1
        self._files.append(f"{folder}/{name}")
        self._writers[folder] = writer
        return writer


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _failed(folder: Path, error: OSError) -> DeliveryError:
    return DeliveryError(f"cannot write below {folder}: {error}", error)
