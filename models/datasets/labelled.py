"""Light curves with the truth about them: what every loader returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.lightcurve import LightCurves
from models.taxonomy import class_id

__all__ = ["LabelledCurves"]


@dataclass(frozen=True, slots=True)
class LabelledCurves:
    """n light curves with their classes."""

    name: str
    """The honest name of the data: what it is and where it comes from."""
    curves: LightCurves
    classes: tuple[str, ...]
    """K names of `models.taxonomy`, in the order of ``label``."""
    label: npt.NDArray[np.int64]
    """[n] row of ``classes``."""
    group: npt.NDArray[np.int64]
    """[n] row of ``groups``: what the object was made from."""
    groups: tuple[str, ...]
    """Names of simulation templates or sources; objects of one group are siblings."""
    object_id: npt.NDArray[np.int64]
    """[n] identity in the source."""

    def __post_init__(self) -> None:
        for name in self.classes:
            class_id(name)
        for column in ("label", "group", "object_id"):
            if len(getattr(self, column)) != len(self.curves):
                raise DataError(
                    f"{self.name}: {len(getattr(self, column))} values of {column} for "
                    f"{len(self.curves)} curves",
                    column,
                )

    def __len__(self) -> int:
        return len(self.curves)

    def take(self, rows: npt.NDArray[np.integer]) -> LabelledCurves:
        """Return the objects of the given rows, in that order."""
        return replace(
            self,
            curves=self.curves.take(rows),
            label=self.label[rows],
            group=self.group[rows],
            object_id=self.object_id[rows],
        )

    def without_redshift(self) -> LabelledCurves:
        """Return the same objects as if no redshift were known."""
        return replace(self, curves=replace(self.curves, redshift=None, redshift_err=None))
