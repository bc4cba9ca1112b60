"""Read rows of the exchange format (`models.datasets.parquet`), and say what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.datasets.labelled import LabelledCurves
from models.errors import DataError
from models.lightcurve import BANDS, DETECTION, FORCED, LightCurves
from models.taxonomy import CLASS_IDS

__all__ = ["LISTS", "AlertCurves", "Rows"]

LISTS: Final = {
    "mjd": pa.float64(),
    "flux": pa.float32(),
    "flux_err": pa.float32(),
    "detected": pa.bool_(),
    "band": pa.string(),
}
"""Columns with a list per row, and the types of its values."""


@dataclass(frozen=True, slots=True)
class AlertCurves:
    """n histories as alerts told them."""

    data: LabelledCurves
    """n curves, each what one alert knew; alerts of one object are of the same group."""
    trigger_mjd: npt.NDArray[np.float64]
    """[n] days: time of the alert, which is that of the last observation; NaN if unknown."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a file."""

    batch: Any
    path: Path
    name: str
    """Of the data."""
    classes: tuple[str, ...]
    """Those that come first, in order."""
    first: int
    """Number of the first row in the file."""
    first_id: int
    """Number of the first row as identity, where identities are text."""

    def read(self) -> AlertCurves:
        """Return the curves; `DataError` when a column is not as documented."""
        curves = self._curves()
        classes, label = self._classes()
        groups, group = self._groups()
        data = LabelledCurves(self.name, curves, classes, label, group, groups, self._object_ids())
        return AlertCurves(data, self._triggers(curves))

    def _fail(self, column: str, what: str, row: int | None = None) -> DataError:
        where = "" if row is None else f" in row {self.first + row}"
        return DataError(
            f"column {column} of {self.path} {what}{where}; "
            "models/datasets/README.md describes the columns",
            column,
        )

    def _cast(self, column: str, values: Any, kind: pa.DataType) -> Any:
        try:
            return values.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self._fail(column, f"has {values.type} where {kind} is expected") from error

    def _curves(self) -> LightCurves:
        counts = pc.list_value_length(self.batch.column("mjd"))
        flat = {name: self._flat(name, counts) for name in LISTS if name != "band"}
        curve = np.repeat(np.arange(self.batch.num_rows), counts.to_numpy())
        bad = {name: ~np.isfinite(flat[name]) for name in ("mjd", "flux", "flux_err")}
        bad["flux_err"] |= flat["flux_err"] <= 0
        for name, rows in bad.items():
            if rows.any():
                what = "has a value <= 0 or no number" if name == "flux_err" else "has no number"
                raise self._fail(name, what, int(curve[np.argmax(rows)]))
        curves = LightCurves.from_observations(
            curve=curve,
            mjd=flat["mjd"],
            band=self._bands(counts),
            flux=flat["flux"],
            flux_err=flat["flux_err"],
            rank=np.where(flat["detected"], DETECTION, FORCED).astype(np.uint8),
            n_curves=self.batch.num_rows,
        )
        redshift, redshift_err = self._numbers("redshift"), self._numbers("redshift_err")
        return LightCurves(
            *(curves.splits, curves.mjd, curves.band, curves.flux, curves.flux_err),
            curves.detected,
            None if redshift is None else redshift.astype(np.float32),
            None if redshift_err is None else redshift_err.astype(np.float32),
        )

    def _values(self, name: str, counts: Any) -> Any:
        """Return the values of a list column, [m]."""
        column = self.batch.column(name)
        if column.null_count:
            raise self._fail(name, "is null", int(np.argmax(column.is_null())))
        lengths = pc.list_value_length(column)
        if not lengths.equals(counts):
            row = int(np.argmax(np.asarray(lengths) != np.asarray(counts)))
            raise self._fail(name, f"has {lengths[row]} values for {counts[row]} of mjd", row)
        values = column.flatten()
        if values.null_count:
            raise self._fail(name, "has a null")
        return values

    def _flat(self, name: str, counts: Any) -> npt.NDArray[Any]:
        values = self._cast(name, self._values(name, counts), LISTS[name])
        # A copy: arrays that cannot be written to are another type to compiled kernels.
        return np.array(values)

    def _bands(self, counts: Any) -> npt.NDArray[np.uint8]:
        values = self._values("band", counts)
        if not pa.types.is_dictionary(values.type):
            values = self._cast("band", values, pa.string()).dictionary_encode()
        rows = {band.key: row for row, band in enumerate(BANDS)}
        keys = self._cast("band", values.dictionary, pa.string()).to_pylist()
        unknown = sorted(set(keys) - set(rows))
        if unknown:
            raise self._fail("band", f"has {unknown} (known: {', '.join(rows)})")
        table = np.array([rows[key] for key in keys], np.uint8)
        return np.asarray(table[np.asarray(values.indices)])

    def _texts(self, name: str) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a column, and of each row which one it has."""
        column = self.batch.column(name)
        if column.null_count:
            raise self._fail(name, "is null", int(np.argmax(column.is_null())))
        encoded = self._cast(name, column, pa.string()).dictionary_encode()
        return encoded.dictionary.to_pylist(), np.asarray(encoded.indices).astype(np.int64)

    def _classes(self) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        names, which = self._texts("class")
        unknown = sorted(set(names) - set(CLASS_IDS))
        if unknown:
            raise self._fail("class", f"has {unknown} (known: {', '.join(CLASS_IDS)})")
        order = [*self.classes, *(c for c in CLASS_IDS if c in names and c not in self.classes)]
        return tuple(order), np.array([order.index(name) for name in names], np.int64)[which]

    def _groups(self) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        names, which = self._texts("group" if "group" in self.batch.schema.names else "object_id")
        return tuple(names), which

    def _object_ids(self) -> npt.NDArray[np.int64]:
        column = self.batch.column("object_id")
        if not pa.types.is_integer(column.type):
            return self.first_id + np.arange(len(column), dtype=np.int64)
        if column.null_count:
            raise self._fail("object_id", "is null", int(np.argmax(column.is_null())))
        return np.asarray(self._cast("object_id", column, pa.int64()))

    def _numbers(self, name: str) -> npt.NDArray[np.float64] | None:
        if name not in self.batch.schema.names:
            return None
        column = self._cast(name, self.batch.column(name), pa.float64())
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _triggers(self, curves: LightCurves) -> npt.NDArray[np.float64]:
        trigger = self._numbers("trigger_mjd")
        if trigger is None:
            return np.full(len(curves), np.nan)
        last = np.append(curves.mjd, np.nan)[curves.splits[1:] - 1]
        wrong = ~np.isnan(trigger) & (trigger != last)
        if wrong.any():
            row = int(np.argmax(wrong))
            what = f"is {trigger[row]} where the last observation is of {last[row]}"
            raise self._fail("trigger_mjd", what, row)
        return trigger
