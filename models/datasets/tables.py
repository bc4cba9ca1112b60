"""Tables of the real data sets: Parquet with one row per observation, as the loaders ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.datasets.labelled import LabelledCurves
from models.datasets.parquet_files import open_parquet
from models.errors import DataError
from models.lightcurve import LightCurves, band_index

__all__ = ["Objects", "located", "number_objects", "read_table", "real_curves", "rows_of_bands"]

_TYPES: Final = {"text": pa.string(), "number": pa.float64(), "optional number": pa.float64()}


def located(path: Path, file_name: str) -> Path:
    """Return the file of a data set, of which either itself or its folder was named."""
    return path if path.is_file() else path / file_name


def read_table(path: Path, columns: Mapping[str, str], expected: str) -> dict[str, Any]:
    """Read columns of a Parquet file as arrays [m]: ``text`` as str, ``number`` as float64.

    ``columns`` says what each name holds. Only an ``optional number`` may be null or NaN;
    it becomes NaN. Raise `DataError` with ``expected``, what the file must hold, when
    it does not.
    """
    with open_parquet(path, expected) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}: {expected}", missing)
        try:
            table = file.read(list(columns))
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} is damaged ({error}): {expected}", path) from error
    return {name: _column(table, name, kind, path) for name, kind in columns.items()}


def _column(table: pa.Table, name: str, kind: str, path: Path) -> npt.NDArray[Any]:
    column = table[name]
    try:
        values = column.cast(_TYPES[kind]).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {name} of {path} must hold {kind}s, but has the type {column.type}", name
        ) from error
    bad = column.null_count
    if kind == "number":
        bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad and kind != "optional number":
        raise DataError(f"column {name} of {path} has {bad} values that are no {kind}", name)
    return np.asarray(values.astype(np.str_) if kind == "text" else values)


def rows_of_bands(
    names: npt.NDArray[np.str_], survey: str, known: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return the rows of `BANDS`, [m], of band names [m]; `DataError` for one not ``known``."""
    unique, which = np.unique(names, return_inverse=True)
    unknown = sorted({str(name) for name in unique} - set(known))
    if unknown:
        raise DataError(f"unknown bands {unknown} of {survey}; known: {', '.join(known)}", unknown)
    rows = np.array([band_index(survey, str(name)) for name in unique], np.uint8)
    return np.asarray(rows[which])


@dataclass(frozen=True, slots=True)
class Objects:
    """Which rows of a table belong to the same object."""

    names: tuple[str, ...]
    """n names, sorted."""
    first: npt.NDArray[np.int64]
    """[n] first row of each."""
    number: npt.NDArray[np.int64]
    """[m] object of each row."""


def number_objects(names: npt.NDArray[np.str_]) -> Objects:
    """Return the objects that a column of names [m] has."""
    unique, first, number = np.unique(names, return_index=True, return_inverse=True)
    return Objects(
        tuple(str(name) for name in unique), first.astype(np.int64), number.astype(np.int64)
    )


def real_curves(
    name: str,
    objects: Objects,
    curves: LightCurves,
    kinds: npt.NDArray[np.str_],
    class_of_kind: Mapping[str, str],
    groups: npt.NDArray[np.str_] | None = None,
) -> LabelledCurves:
    """Label curves [n] of real objects by their kinds [n], the classes of the source.

    Groups are the names [n] in ``groups``, by default those of the objects. An object
    whose name is a number is known by it, the others by their place in the sorted names.
    """
    unknown = sorted({str(kind) for kind in np.unique(kinds)} - set(class_of_kind))
    if unknown:
        raise DataError(f"unknown classes {unknown}; known: {', '.join(class_of_kind)}", unknown)
    classes = tuple(dict.fromkeys(class_of_kind.values()))
    label = np.array([classes.index(class_of_kind[str(kind)]) for kind in kinds], np.int64)
    siblings = number_objects(np.array(objects.names) if groups is None else groups)
    numbers = all(object_name.isdecimal() for object_name in objects.names)
    return LabelledCurves(
        name=name,
        curves=curves,
        classes=classes,
        label=label,
        group=siblings.number,
        groups=siblings.names,
        object_id=np.array(objects.names).astype(np.int64)
        if numbers
        else np.arange(len(objects.names), dtype=np.int64),
    )
