"""Fink's columns of concatenated histories, put back into the alerts that they came from.

A cell of a column holds one value per exposure of an alert, the history first and the
alert itself last, as ``concat_col`` of fink-utils makes them. They become nested columns of
ZTF's own names again, so that `stream.nested` reads them by the rules of every other alert.

Notation: n rows, one alert each; m exposures of all alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import DataError
from stream.alerts import AlertBatch
from stream.nested import NestedDecoder

__all__ = ["ROID_SOLAR_SYSTEM", "decode_histories"]

ROID_SOLAR_SYSTEM: Final = 3
"""Fink's ``roid`` of a known solar-system object."""

_POSITIVE: Final = "t"
_EXPOSURES: Final = ("jd", "fid", "magpsf", "sigmapsf", "isdiffpos", "diffmaglim")
_FORCED: Final = ("jd", "fid", "forcediffimflux", "forcediffimfluxunc", "magzpsci")
_DECODER: Final = NestedDecoder(("ztf",))

Counts = npt.NDArray[np.int64]


def decode_histories(
    candid: pd.Series,
    exposures: Mapping[str, pd.Series],
    roid: pd.Series | None = None,
    forced: Mapping[str, pd.Series] | None = None,
) -> AlertBatch:
    """Decode n alerts; `AlertBatch.message` is the row.

    ``exposures`` has ``jd``, ``fid``, ``magpsf`` and ``sigmapsf``, and may have ``isdiffpos`` and
    ``diffmaglim``; a cell is an array or list, null where there is no history at all. Null or
    NaN as ``magpsf`` is an upper limit. Without ``isdiffpos`` every difference counts as
    positive, without ``diffmaglim`` upper limits are left out. ``forced`` has the columns of
    ``fp_hists``, each with a list per row.

    Raises `DataError` when the arrays of a row have different lengths.
    """
    columns, lengths = _columns(exposures, _EXPOSURES)
    # Rows without any exposure are refused later on: their candidate is null.
    has = lengths > 0
    last = np.cumsum(lengths) - 1
    m = int(lengths.sum())
    columns.setdefault("isdiffpos", pa.repeat(_POSITIVE, m))
    columns.setdefault("diffmaglim", pa.nulls(m, pa.float64()))
    entries = _structs(columns)
    candidate = {name: column.take(_where(last, has)) for name, column in columns.items()}
    if roid is not None:
        known = np.asarray(roid.to_numpy() == ROID_SOLAR_SYSTEM, np.bool_)
        candidate["ssdistnr"] = pa.array(np.zeros(len(known)), mask=~known)
    before = np.ones(len(entries), np.bool_)
    before[last[has]] = False
    nested = {
        "objectId": pa.array(candid.to_numpy()).cast(pa.string()),
        "candid": pa.array(candid.to_numpy()),
        "candidate": _structs(candidate),
        "prv_candidates": _lists(entries.filter(pa.array(before)), lengths - has),
    }
    if forced is not None:
        values, counts = _columns(forced, _FORCED)
        nested["fp_hists"] = _lists(_structs(values), counts)
    return _DECODER.decode(pa.RecordBatch.from_pydict(nested))


def _columns(
    cells: Mapping[str, pd.Series], names: tuple[str, ...]
) -> tuple[dict[str, pa.Array], Counts]:
    """Return the columns that are there one value per exposure, [m], and exposures per row, [n]."""
    columns: dict[str, pa.Array] = {}
    lengths: Counts | None = None
    for name in names:
        if name not in cells:
            continue
        lists = _lists_of(cells[name])
        own = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), np.int64)
        if lengths is not None and not np.array_equal(lengths, own):
            row = int(np.flatnonzero(lengths != own)[0])
            raise DataError(
                f"column {name} has {own[row]} values in row {row}, {names[0]} has {lengths[row]}: "
                "concatenate the same history in all columns",
                name,
            )
        lengths = own
        values = _without_nan(lists.flatten())
        # Where a null was among them, pandas has made numbers of the integers.
        columns[name] = values.cast(pa.int64()) if name == "fid" else values
    assert lengths is not None
    return columns, lengths


def _lists_of(cells: pd.Series) -> pa.ListArray:
    lists = pa.array(cells.to_numpy(), from_pandas=False)
    return lists.cast(pa.list_(pa.null())) if pa.types.is_null(lists.type) else lists


def _without_nan(values: pa.Array) -> pa.Array:
    """Return null for NaN: pandas has one for the other."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _structs(columns: Mapping[str, pa.Array]) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def _where(rows: Counts, there: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(rows, mask=~there)


def _lists(entries: pa.StructArray, counts: npt.NDArray[Any]) -> pa.ListArray:
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), entries)
