"""``tinyt2 curves``: an archive of alerts and a table of labels become labelled light curves.

What comes out is the exchange format (`models.datasets.parquet`), in one of two forms:

* per object: one curve of all exposures that the object's alerts tell of, each once;
  a detection wins over forced photometry, and that over an upper limit;
* per alert: one row per alert, exactly the history that it was sent with, and its time;
  alerts of one object are of the same group, and an alert that the archive has twice is
  taken once.

Memory: the archive is read in a stream, and alerts of objects without a label are
dropped at once. Per alert, what is held is one batch and 200 bytes per labelled alert.
Per object, it is the merged exposures of the labelled objects, 30 bytes each, and up
to as many again, or 4 million, of alerts that are not yet merged.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from deploy import wiring
from deploy.settings import Settings
from models.datasets.joined import join_curves
from models.datasets.labelled import LabelledCurves
from models.datasets.parquet import CurvesWriter
from models.errors import ConfigurationError, DataError
from models.lightcurve import DETECTION, FORCED, UPPER_LIMIT, LightCurves
from models.taxonomy import CLASS_IDS, class_id
from stream.alerts import AlertBatch
from stream.nested import NestedDecoder
from stream.sources.archive import ArchiveSource
from stream.sources.parts import plan

__all__ = ["LabelColumns", "Labels", "Made", "Per", "make_curves", "read_labels"]

_MESSAGES: Final = 512
_UNMERGED_OBSERVATIONS: Final = 4_000_000


class Per(StrEnum):
    """What a row of the output is."""

    OBJECT = "object"
    ALERT = "alert"


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


@dataclass(slots=True)
class Made:
    """What became of an archive."""

    messages: int = 0
    refused: int = 0
    """Messages that could not be decoded."""
    unlabelled: int = 0
    """Alerts of objects that the table does not have."""
    repeated: int = 0
    """Alerts that the archive had before."""
    alerts: int = 0
    """Labelled alerts that were used."""
    curves: int = 0
    """Rows written."""
    objects: set[int] = field(default_factory=set)
    """Rows of the label table that alerts were found for."""
    objects_of_class: dict[str, int] = field(default_factory=dict)
    """Objects with alerts, by class."""


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


def make_curves(
    settings: Settings,
    paths: Sequence[Path],
    labels: Labels,
    out: Path,
    per: Per = Per.OBJECT,
    *,
    name: str | None = None,
    on_start: Callable[[int], None] = lambda n_bytes: None,
    on_bytes: Callable[[int], None] = lambda n_bytes: None,
) -> Made:
    """Write the labelled curves of an archive's alerts to a file; return what became of it.

    ``name`` says in the file what the data is. ``on_start`` is given the size of the
    archive, ``on_bytes`` how much of it is done. Raise `ConfigurationError` for what
    cannot be opened, `DataError` when no alert is of a labelled object.
    """
    made = Made()
    title = name or f"alerts of {', '.join(path.name for path in paths)}, one row per {per}"
    with CurvesWriter(out, title, labels.classes) as writer:
        batches = _labelled_alerts(settings, paths, labels, out, made, on_start, on_bytes)
        make = _write_alerts if per is Per.ALERT else _write_objects
        make(batches, labels, title, writer, made)
        if not made.curves:
            raise DataError(
                f"no alert of {made.unlabelled} is of one of the {len(labels.names)} labelled "
                f"objects ({labels.names[0]}, ...): check the column of object ids",
                labels.names[0],
            )
    found = np.array(sorted(made.objects), np.int64)
    counts = np.bincount(labels.label[found], minlength=len(labels.classes))
    made.objects_of_class = dict(zip(labels.classes, counts.tolist(), strict=True))
    return made


@dataclass(frozen=True, slots=True)
class _Alerts:
    """n alerts of labelled objects."""

    curves: LightCurves
    row: npt.NDArray[np.int64]
    """[n] row of the label table."""
    alert_id: npt.NDArray[np.int64]
    trigger_mjd: npt.NDArray[np.float64]


def _labelled_alerts(
    settings: Settings,
    paths: Sequence[Path],
    labels: Labels,
    out: Path,
    made: Made,
    on_start: Callable[[int], None],
    on_bytes: Callable[[int], None],
) -> Iterator[_Alerts]:
    """Decode an archive, and keep the alerts of labelled objects, each once."""
    surveys = settings.input.surveys
    decoder, nested = wiring.open_decoder(settings), NestedDecoder(surveys)
    source = ArchiveSource.over(plan(paths, surveys, out=out))
    on_start(source.n_bytes)
    seen: set[tuple[int, int]] = set()
    try:
        while (messages := source.poll(_MESSAGES, 0.0)) is not None:
            rows = messages.rows
            batch = decoder.decode(messages) if rows is None else nested.decode(rows)
            made.messages += len(messages)
            made.refused += len(batch.refused)
            yield _labelled(batch, labels, seen, made)
            on_bytes(source.bytes_read)
    finally:
        source.close()


def _labelled(batch: AlertBatch, labels: Labels, seen: set[tuple[int, int]], made: Made) -> _Alerts:
    kept, rows = [], []
    for alert, (name, alert_id) in enumerate(
        zip(batch.object_id.to_pylist(), batch.alert_id.tolist(), strict=True)
    ):
        row = labels.rows.get(name)
        if row is None:
            made.unlabelled += 1
        elif (row, alert_id) in seen:
            made.repeated += 1
        else:
            seen.add((row, alert_id))
            kept.append(alert)
            rows.append(row)
    made.alerts += len(kept)
    made.objects.update(rows)
    index = np.array(kept, np.int64)
    return _Alerts(
        batch.curves.take(index),
        np.array(rows, np.int64),
        batch.alert_id[index],
        batch.trigger_mjd[index],
    )


def _write_alerts(
    batches: Iterator[_Alerts], labels: Labels, name: str, writer: CurvesWriter, made: Made
) -> None:
    """Write a row per alert; its identity is that of the alert, its group the object."""
    for alerts in batches:
        if len(alerts.row):
            data = labels.of(name, alerts.curves, alerts.row, alerts.alert_id)
            writer.write(data, alerts.trigger_mjd)
            made.curves += len(data)


def _write_objects(
    batches: Iterator[_Alerts], labels: Labels, name: str, writer: CurvesWriter, made: Made
) -> None:
    """Write a row per object; its identity is its row in the label table, its group its name."""
    merged = _Merged(len(labels.names))
    for alerts in batches:
        merged.add(alerts)
    curves = merged.curves()
    rows = np.flatnonzero(curves.n_observations)
    if len(rows):
        writer.write(labels.of(name, curves.take(rows), rows, rows))
    made.curves = len(rows)


class _Merged:
    """The exposures of n objects, each once."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._curves: list[LightCurves] = []
        self._row: list[npt.NDArray[np.int64]] = []
        self._n_merged = 0
        self._n_unmerged = 0

    def add(self, alerts: _Alerts) -> None:
        """Take the histories of alerts; merge when as much is unmerged as merged."""
        self._curves.append(alerts.curves)
        self._row.append(alerts.row)
        self._n_unmerged += len(alerts.curves.mjd)
        if self._n_unmerged > max(self._n_merged, _UNMERGED_OBSERVATIONS):
            self.curves()

    def curves(self) -> LightCurves:
        """Return one curve per object, empty for those without alerts, [n]."""
        empty = np.zeros(0, np.int64)
        parts = join_curves(self._curves or [_no_curves()])
        rows = np.concatenate([empty, *self._row])
        curves = LightCurves.from_observations(
            curve=np.repeat(rows, parts.n_observations),
            mjd=parts.mjd,
            band=parts.band,
            flux=parts.flux,
            flux_err=parts.flux_err,
            rank=_ranks(parts),
            n_curves=self._n,
        )
        self._curves, self._row = [curves], [np.arange(self._n)]
        self._n_merged, self._n_unmerged = len(curves.mjd), 0
        return curves


def _ranks(curves: LightCurves) -> npt.NDArray[np.uint8]:
    """Return the ranks that observations were decoded with: only limits are exactly 0, [m]."""
    others = np.where(curves.flux == 0, UPPER_LIMIT, FORCED)
    return np.where(curves.detected, DETECTION, others).astype(np.uint8)


def _no_curves() -> LightCurves:
    floats = np.zeros(0, np.float32)
    return LightCurves(
        np.zeros(1, np.int64),
        np.zeros(0, np.float64),
        np.zeros(0, np.uint8),
        floats,
        floats,
        np.zeros(0, np.bool_),
    )
