"""Write the exchange format of labelled light curves; `models.datasets.parquet` describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from models.datasets.labelled import LabelledCurves
from models.errors import DataError
from models.lightcurve import BANDS

__all__ = ["CLASSES_KEY", "NAME_KEY", "CurvesWriter", "write_parquet"]

NAME_KEY: Final = b"tinyt2:name"
CLASSES_KEY: Final = b"tinyt2:classes"

_ROW_GROUP_OBSERVATIONS: Final = 1 << 20
"""About 20 MB in memory."""
_FLOATS: Final = ("mjd", "flux", "flux_err")
_FIELDS: Final = (
    pa.field("object_id", pa.int64(), nullable=False),
    pa.field("class", pa.string(), nullable=False),
    pa.field("group", pa.string(), nullable=False),
    pa.field("redshift", pa.float32()),
    pa.field("redshift_err", pa.float32()),
    pa.field("trigger_mjd", pa.float64()),
    pa.field("mjd", pa.list_(pa.float64()), nullable=False),
    pa.field("band", pa.list_(pa.string()), nullable=False),
    pa.field("flux", pa.list_(pa.float32()), nullable=False),
    pa.field("flux_err", pa.list_(pa.float32()), nullable=False),
    pa.field("detected", pa.list_(pa.bool_()), nullable=False),
)


class CurvesWriter:
    """Writes curves to one file, chunk by chunk; each chunk is on disk before the next.

    A context manager. The file is called ``NAME.partial`` until it is complete, and is
    deleted when an exception ends the block. ``classes`` are those of all chunks, in order.
    """

    def __init__(self, path: Path, name: str, classes: Sequence[str]) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._classes = tuple(classes)
        metadata = {NAME_KEY: name.encode(), CLASSES_KEY: json.dumps(self._classes).encode()}
        self._schema = pa.schema(_FIELDS, metadata)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = pq.ParquetWriter(
                self._partial,
                self._schema,
                compression="zstd",
                use_dictionary=["class", "group", "band.list.element"],
                use_byte_stream_split=[f"{name}.list.element" for name in _FLOATS],
            )
        except OSError as error:
            raise DataError(f"cannot write {self._partial}: {error}", path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink()

    def write(
        self, data: LabelledCurves, trigger_mjd: npt.NDArray[np.float64] | None = None
    ) -> None:
        """Append curves; ``trigger_mjd`` [n] says that they are alerts, and of which times.

        Raise `DataError` for classes that the file was not opened with.
        """
        unknown = [name for name in data.classes if name not in self._classes]
        if unknown:
            raise DataError(f"{self._path} is of the classes {self._classes}, not {unknown}")
        splits = data.curves.splits
        start = 0
        while start < len(data):
            end = int(np.searchsorted(splits, splits[start] + _ROW_GROUP_OBSERVATIONS))
            end = min(max(end, start + 1), len(data))
            trigger = None if trigger_mjd is None else trigger_mjd[start:end]
            columns = _columns(data, np.arange(start, end), trigger)
            self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
            start = end


def write_parquet(data: LabelledCurves, path: Path) -> None:
    """Write curves to a file of the exchange format."""
    with CurvesWriter(path, data.name, data.classes) as writer:
        writer.write(data)


def _columns(
    data: LabelledCurves,
    rows: npt.NDArray[np.int64],
    trigger_mjd: npt.NDArray[np.float64] | None,
) -> list[Any]:
    """Return the columns of `_FIELDS` for some rows."""
    curves = data.curves.take(rows)
    keys = pa.array([band.key for band in BANDS], pa.string())
    lists = (
        curves.mjd,
        keys.take(pa.array(curves.band)),
        curves.flux,
        curves.flux_err,
        curves.detected,
    )
    offsets = pa.array(curves.splits.astype(np.int32))
    return [
        pa.array(data.object_id[rows]),
        _texts(data.classes, data.label[rows]),
        _texts(data.groups, data.group[rows]),
        _optional(curves.redshift, len(rows), pa.float32()),
        _optional(curves.redshift_err, len(rows), pa.float32()),
        _optional(trigger_mjd, len(rows), pa.float64()),
        *(pa.ListArray.from_arrays(offsets, values) for values in lists),
    ]


def _texts(names: Sequence[str], which: npt.NDArray[np.int64]) -> Any:
    return pa.array([names[row] for row in which], pa.string())


def _optional(values: npt.NDArray[np.floating] | None, n: int, kind: pa.DataType) -> Any:
    """Return a column where NaN is null."""
    if values is None:
        return pa.nulls(n, kind)
    return pa.array(values, kind, from_pandas=True)
