"""Folded light curves of real periodic stars from ZTF's third data release.

An optional file, ``ztf_dr_vars_templates.npz``, as made by uiucsn/ztf-dr-vars (MIT licence)
from ZTF DR3 photometry of stars of the VSX catalogue (Watson et al. 2006): arrays ``cls``,
``vsx_oid``, ``period`` (days), ``offset`` [G + 1] and flat ``time`` (days, 0 to period) and
``mag_gri`` [m, 3], smooth curves of total magnitudes.

Notation: G stars, N steps of phase.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.lightcurve import BANDS
from models.simulate.variables.folded import STEPS, on_grid

__all__ = ["FoldedStars", "load_ztf_stars"]

_ARRAYS: Final = ("cls", "vsx_oid", "period", "offset", "time", "mag_gri")
_COLUMN_OF_BAND: Final = {"u": 0, "g": 0, "r": 1, "i": 2, "z": 2, "y": 2}


@dataclass(frozen=True, slots=True)
class FoldedStars:
    """Folded curves of G stars of one type."""

    names: tuple[str, ...]
    """Identifiers in VSX."""
    period_days: npt.NDArray[np.float64]
    """[G]"""
    curves: npt.NDArray[np.float32]
    """[G, rows of BANDS, N] magnitudes minus their mean; u as g, z and y as i."""


def load_ztf_stars(path: Path, star_class: str) -> FoldedStars:
    """Read the stars of a class (RR Lyr, Cepheid, Delta Sct); `DataError` for a wrong file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read {path} ({error}): it must hold the arrays {', '.join(_ARRAYS)}; "
            "models/simulate/variables/ztf_stars.py describes them",
            path,
        ) from error
    chosen = np.flatnonzero(arrays["cls"] == star_class)
    curves = np.zeros((len(chosen), len(BANDS), STEPS), np.float32)
    for g, star in enumerate(chosen):
        part = slice(arrays["offset"][star], arrays["offset"][star + 1])
        curves[g] = _curve(arrays["time"][part] / arrays["period"][star], arrays["mag_gri"][part])
    names = tuple(f"VSX {name}" for name in arrays["vsx_oid"][chosen])
    return FoldedStars(names, arrays["period"][chosen].astype(np.float64), curves)


def _curve(
    phase: npt.NDArray[np.float64], mag_gri: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return one star's curve in all bands, [rows of BANDS, N]."""
    colours = [on_grid(phase, mag_gri[:, c] - mag_gri[:, c].mean()) for c in range(3)]
    return np.stack([colours[_COLUMN_OF_BAND[band.name]] for band in BANDS])
