"""Put parts of a labelled data set together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.datasets.labelled import LabelledCurves
from models.errors import DataError
from models.lightcurve import LightCurves

__all__ = ["join", "join_curves"]


def join(name: str, parts: Sequence[LabelledCurves]) -> LabelledCurves:
    """Return the curves of all parts, in order; equal names of groups are one group.

    Classes and groups are in the order in which the parts have them. `DataError` when
    there is no part. The parts and the result are in memory at the same time.
    """
    if not parts:
        raise DataError(f"{name}: there are no light curves", name)
    classes = tuple(dict.fromkeys(c for part in parts for c in part.classes))
    groups = {g: i for i, g in enumerate(dict.fromkeys(g for part in parts for g in part.groups))}
    label = [np.array([classes.index(c) for c in p.classes], np.int64)[p.label] for p in parts]
    group = [np.array([groups[g] for g in p.groups], np.int64)[p.group] for p in parts]
    return LabelledCurves(
        name=name,
        curves=join_curves([part.curves for part in parts]),
        classes=classes,
        label=np.concatenate(label),
        group=np.concatenate(group),
        groups=tuple(groups),
        object_id=np.concatenate([part.object_id for part in parts]),
    )


def join_curves(parts: Sequence[LightCurves]) -> LightCurves:
    """Return the curves of at least one part, in order."""
    ends = np.cumsum([0, *(len(part.mjd) for part in parts)])
    splits = [part.splits[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    return LightCurves(
        np.concatenate([*splits, ends[-1:]]),
        np.concatenate([part.mjd for part in parts]),
        np.concatenate([part.band for part in parts]),
        np.concatenate([part.flux for part in parts]),
        np.concatenate([part.flux_err for part in parts]),
        np.concatenate([part.detected for part in parts]),
        _optional([part.redshift for part in parts], parts),
        _optional([part.redshift_err for part in parts], parts),
    )


def _optional(
    columns: Sequence[npt.NDArray[np.float32] | None], parts: Sequence[LightCurves]
) -> npt.NDArray[np.float32] | None:
    if all(column is None for column in columns):
        return None
    filled = [
        np.full(len(part), np.nan, np.float32) if column is None else column
        for column, part in zip(columns, parts, strict=True)
    ]
    return np.concatenate(filled)
