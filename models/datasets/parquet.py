"""The exchange format of labelled light curves: Parquet, one row per light curve.

=================  ==================  ================================================
``object_id``      integer or text     identity; text stays in the file, and is numbered
                                       by its row when it is read
``class``          text                name of `models.taxonomy`
``group``          text, optional      what the object was made from, or which rows are
                                       siblings; ``object_id`` where there is no column
``redshift``       number, optional    of the host galaxy, null where unknown
``redshift_err``   number, optional    its standard error, null where unknown
``trigger_mjd``    number, optional    time of the alert that the row is the history of,
                                       days: that of its last observation
``mjd``            list of numbers     days
``band``           list of text        keys of `models.lightcurve.BANDS`: ``ztf:g``
``flux``           list of numbers     nJy (AB zero point 31.4), difference flux
``flux_err``       list of numbers     nJy, > 0
``detected``       list of booleans    False for forced photometry and upper limits
=================  ==================  ================================================

One row per light curve rather than per observation: no curve is ever torn apart at
the border of a row group, so that any run of rows is complete and is read in bounded
memory; nothing has to be sorted or grouped; identity and class are stored once. Lists
are flat columns on disk all the same, and as flat columns they are read.

Observations of a row may be in any order; of one time and band, the first detection
is kept, or the first. The file's metadata hold the name of the data under
``tinyt2:name``, and under ``tinyt2:classes`` the classes in order, as JSON; files
without them are named by their path, and their classes are in order of the taxonomy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from models.datasets.joined import join
from models.datasets.labelled import LabelledCurves
from models.datasets.parquet_files import open_parquet
from models.datasets.parquet_rows import LISTS, AlertCurves, Rows
from models.datasets.parquet_writer import CLASSES_KEY, NAME_KEY, CurvesWriter, write_parquet
from models.errors import DataError
from models.taxonomy import CLASS_IDS

__all__ = [
    "CURVES_PER_CHUNK",
    "AlertCurves",
    "CurvesWriter",
    "load_alerts",
    "load_parquet",
    "parquet_chunks",
    "write_parquet",
]

CURVES_PER_CHUNK: Final = 4096

_REQUIRED: Final = ("object_id", "class", *LISTS)
_OPTIONAL: Final = ("group", "redshift", "redshift_err", "trigger_mjd")
_EXPECTED: Final = (
    f"one row per light curve with the columns {', '.join(_REQUIRED)} and, optionally, "
    f"{', '.join(_OPTIONAL)}; models/datasets/README.md describes them"
)


def load_parquet(path: Path) -> LabelledCurves:
    """Read a file, or all ``*.parquet`` of a folder in order of their names.

    Takes about 22 bytes per observation, twice that for a moment. Raise `DataError`,
    naming the column, when a file is not as documented.
    """
    return _load(path).data


def load_alerts(path: Path) -> AlertCurves:
    """Read curves that are alerts, with their times; `DataError` for one without.

    Otherwise like `load_parquet`.
    """
    alerts = _load(path)
    missing = int(np.count_nonzero(np.isnan(alerts.trigger_mjd)))
    if missing:
        raise DataError(
            f"column trigger_mjd of {path} lacks {missing} of {len(alerts.data)} values: the "
            "rows must be alerts ('tinyt2 curves --per alert' writes such files)",
            "trigger_mjd",
        )
    return alerts


def parquet_chunks(
    path: Path, curves_per_chunk: int = CURVES_PER_CHUNK
) -> Iterator[LabelledCurves]:
    """Yield the curves of a file or folder, at most so many at a time, and of one row group.

    In memory is one row group, and the chunk twice. Each chunk has the groups of its own curves, and the classes of its file or, where
    that does not name them, its own. Raise `DataError`, naming the column, when a file is not
    as documented.
    """
    for part in _parts(_files(path), curves_per_chunk):
        yield part.data


def _load(path: Path) -> AlertCurves:
    files = _files(path)
    parts = list(_parts(files, CURVES_PER_CHUNK))
    if not parts:
        raise DataError(f"{path} holds no light curves: {_EXPECTED}", path)
    names = sorted({part.data.name for part in parts})
    data = join("; ".join(names), [part.data for part in parts])
    if not any(_head(file).classes for file in files):
        data = _in_order(data)
    return AlertCurves(data, np.concatenate([part.trigger_mjd for part in parts]))


def _in_order(data: LabelledCurves) -> LabelledCurves:
    """Return the data with its classes in order of the taxonomy."""
    classes = tuple(name for name in CLASS_IDS if name in data.classes)
    rows = np.array([classes.index(name) for name in data.classes], np.int64)
    return replace(data, classes=classes, label=rows[data.label])


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no *.parquet: {_EXPECTED}", path)
    return files


@dataclass(frozen=True, slots=True)
class _Head:
    """What the schema of a file says."""

    name: str
    classes: tuple[str, ...]
    columns: tuple[str, ...]


def _head(path: Path) -> _Head:
    with open_parquet(path, _EXPECTED) as file:
        schema = file.schema_arrow
    missing = [name for name in _REQUIRED if name not in schema.names]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: {_EXPECTED}", missing)
    for name in LISTS:
        kind = schema.field(name).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise DataError(
                f"column {name} of {path} must be a list, but has the type {kind}: {_EXPECTED}",
                name,
            )
    metadata = schema.metadata or {}
    return _Head(
        metadata.get(NAME_KEY, f"light curves of {path}".encode()).decode(),
        tuple(json.loads(metadata.get(CLASSES_KEY, b"[]"))),
        tuple(name for name in (*_REQUIRED, *_OPTIONAL) if name in schema.names),
    )


def _parts(files: Sequence[Path], curves_per_chunk: int) -> Iterator[AlertCurves]:
    first_id = 0
    for path in files:
        head, first = _head(path), 0
        with open_parquet(path, _EXPECTED) as file:
            for batch in _batches(file, path, curves_per_chunk, head.columns):
                rows = Rows(batch, path, head.name, head.classes, first, first_id + first)
                yield rows.read()
                first += batch.num_rows
        first_id += first


def _batches(file: Any, path: Path, n_rows: int, columns: Sequence[str]) -> Iterator[Any]:
    # Row groups one by one: Arrow cannot join dictionaries in lists of several.
    for row_group in range(file.num_row_groups):
        batches = file.iter_batches(n_rows, row_groups=[row_group], columns=list(columns))
        while (batch := _next(batches, path)) is not None:
            yield batch


def _next(batches: Iterator[Any], path: Path) -> Any:
    try:
        return next(batches, None)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is damaged: {error}", path) from error
