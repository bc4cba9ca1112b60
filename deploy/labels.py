"""Tables that say of which class objects are: CSV, one line per object."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.datasets.labelled import LabelledCurves
from models.errors import ConfigurationError, DataError
from models.lightcurve import LightCurves
from models.taxonomy import CLASS_IDS, class_id

__all__ = ["LabelColumns", "Labels", "read_labels"]


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Names of the columns of a label table; None: there is none."""

    object_id: str = "object_id"
    class_name: str = "class"
    redshift: str | None = None
    redshift_err: str | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of n objects."""

    rows: dict[str, int]
    """Object id as alerts have it -> its row."""
    names: tuple[str, ...]
    """n object ids."""
    classes: tuple[str, ...]
    """K class names, in the order of the taxonomy."""
    label: npt.NDArray[np.int64]
    """[n] row of ``classes``."""
    redshift: npt.NDArray[np.float32]
    """[n] NaN where unknown."""
    redshift_err: npt.NDArray[np.float32]
    """[n] NaN where unknown."""

    def of(
        self,
        name: str,
        curves: LightCurves,
        rows: npt.NDArray[np.int64],
        object_id: npt.NDArray[np.int64],
    ) -> LabelledCurves:
        """Return curves [n] with the labels of the objects ``rows`` [n]."""
        curves = replace(curves, redshift=self.redshift[rows], redshift_err=self.redshift_err[rows])
        return LabelledCurves(
            name, curves, self.classes, self.label[rows], rows, self.names, object_id
        )


def read_labels(path: Path, columns: LabelColumns | None = None) -> Labels:
    """Read a CSV table with a header line; `DataError` says which line is wrong, and why."""
    columns = columns or LabelColumns()
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines)
            _check_header(path, table.fieldnames or (), columns)
            entries = [_entry(line, columns, f"line {table.line_num} of {path}") for line in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the labels in {path}: {error}", path) from error
    if not entries:
        raise DataError(f"{path} has no labels: it must have a line per object", path)
    names = tuple(entry[0] for entry in entries)
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        twice = next(name for row, name in enumerate(names) if rows[name] != row)
        raise DataError(f"object {twice} is in {path} more than once: keep one line of it", twice)
    present = {entry[1] for entry in entries}
    classes = tuple(name for name in CLASS_IDS if name in present)
    return Labels(
        rows,
        names,
        classes,
        np.array([classes.index(entry[1]) for entry in entries], np.int64),
        np.array([entry[2] for entry in entries], np.float32),
        np.array([entry[3] for entry in entries], np.float32),
    )


def _check_header(path: Path, header: Sequence[str], columns: LabelColumns) -> None:
    wanted = (columns.object_id, columns.class_name, columns.redshift, columns.redshift_err)
    missing = [name for name in wanted if name is not None and name not in header]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(header)}: name the "
            "columns of object, class and redshift",
            missing,
        )


def _entry(
    line: dict[str, str | None], columns: LabelColumns, where: str
) -> tuple[str, str, float, float]:
    """Return object id, class, redshift and its error of a line."""
    name, class_name = line[columns.object_id], line[columns.class_name]
    if not name or not class_name:
        raise DataError(f"{where} has no object or no class", where)
    try:
        class_id(class_name)
        redshift = _number(line, columns.redshift)
        return name, class_name, redshift, _number(line, columns.redshift_err)
    except (ConfigurationError, ValueError) as error:
        raise DataError(f"{where}: {error}", where) from error


def _number(line: dict[str, str | None], column: str | None) -> float:
    text = line[column] if column is not None else None
    return float(text) if text else math.nan
