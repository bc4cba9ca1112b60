"""Folded light curves of periodic stars of ZTF DR3: input of simulations, not a labelled set.

The file ``ztf_dr_vars_templates.npz`` is made from ``output/*.lclib`` of
https://github.com/uiucsn/ztf-dr-vars (MIT licence): stars that the VSX catalogue
(Watson et al. 2006) classifies, smoothed by a Gaussian process and corrected for dust.

=============  =============================================================
``cls``        [n] Cepheid, Delta Sct, RR Lyr, Ellipsoidal or Reflection
``vsx_oid``    [n] identity in VSX, text
``period``     [n] days
``ra, dec``    [n] degrees
``offset``     [n + 1] first point of each star, and the end
``time``       [m] days, from 0 to the period
``mag_gri``    [m, 3] total AB magnitudes; i is NaN where only g, r were fitted
=============  =============================================================

Notation: n stars, m points in all.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.datasets.tables import located
from models.errors import DataError

__all__ = ["FILE_NAME", "FoldedStars", "load_ztf_templates"]

FILE_NAME: Final = "ztf_dr_vars_templates.npz"

_CLASS_OF_KIND: Final = {
    "Cepheid": "Cepheid",
    "Delta Sct": "d-Sct",
    "RR Lyr": "RRL",
    "Ellipsoidal": None,
    "Reflection": None,
}
_ARRAYS: Final = ("cls", "vsx_oid", "period", "ra", "dec", "offset", "time", "mag_gri")
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the arrays {', '.join(_ARRAYS)}; "
    "models/datasets/README.md says how to make it"
)


@dataclass(frozen=True, slots=True)
class FoldedStars:
    """n periodic stars; star i has the points ``splits[i]:splits[i + 1]``."""

    kind: tuple[str, ...]
    """n classes of the source."""
    taxonomy: tuple[str | None, ...]
    """n names of `models.taxonomy`, None where it has no such class."""
    vsx_oid: tuple[str, ...]
    """n identities in VSX."""
    period: npt.NDArray[np.float64]
    """[n] days."""
    ra: npt.NDArray[np.float64]
    """[n] degrees."""
    dec: npt.NDArray[np.float64]
    """[n] degrees."""
    splits: npt.NDArray[np.int64]
    """[n + 1] first point of each star, and the end."""
    phase: npt.NDArray[np.float64]
    """[m] 0 to 1, rising within a star; 1 is 0 again."""
    mag_gri: npt.NDArray[np.float32]
    """[m, 3] total AB magnitudes in ZTF g, r, i, without dust; NaN where unknown."""

    def __len__(self) -> int:
        return len(self.kind)


def load_ztf_templates(path: Path) -> FoldedStars:
    """Read the file, or the one in a folder; `DataError` when it is not as documented."""
    arrays = _read(located(path, FILE_NAME))
    kinds = tuple(str(kind) for kind in arrays["cls"])
    unknown = sorted(set(kinds) - set(_CLASS_OF_KIND))
    if unknown:
        raise DataError(f"unknown classes {unknown}; known: {', '.join(_CLASS_OF_KIND)}", unknown)
    splits = arrays["offset"].astype(np.int64)
    period = arrays["period"].astype(np.float64)
    return FoldedStars(
        kind=kinds,
        taxonomy=tuple(_CLASS_OF_KIND[kind] for kind in kinds),
        vsx_oid=tuple(str(name) for name in arrays["vsx_oid"]),
        period=period,
        ra=arrays["ra"].astype(np.float64),
        dec=arrays["dec"].astype(np.float64),
        splits=splits,
        phase=_phases(arrays["time"], period, splits),
        mag_gri=arrays["mag_gri"].astype(np.float32),
    )


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _ARRAYS if name not in archive]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}: {_EXPECTED}", missing)
            arrays = {name: archive[name] for name in _ARRAYS}
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): {_EXPECTED}", path) from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an npz archive: {_EXPECTED}", path) from error
    n, m = len(arrays["cls"]), len(arrays["time"])
    offset = arrays["offset"]
    if len(offset) != n + 1 or offset[-1] != m or arrays["mag_gri"].shape != (m, 3):
        raise DataError(f"offset, time and mag_gri of {path} do not fit: {_EXPECTED}", path)
    return arrays


def _phases(
    time: npt.NDArray[np.floating], period: npt.NDArray[np.float64], splits: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return times over the last time of their star, which is the period but for rounding."""
    days = time.astype(np.float64)
    last = days[splits[1:] - 1]
    wrong = np.flatnonzero(np.abs(last - period) > 0.01 * period)
    if len(wrong):
        raise DataError(
            f"time of star {wrong[0]} ends at {last[wrong[0]]}, its period is {period[wrong[0]]}: "
            f"{_EXPECTED}",
            wrong,
        )
    return np.asarray(days / np.repeat(last, np.diff(splits)))
