"""The "LSST" problem of the UEA archive: equal-length series without times, errors or redshifts.

Bagnall et al. 2018 (arXiv 1811.00075), made from PLAsTiCC (arXiv 1810.00001). It
tests whether classes can be told apart, not irregular sampling: these are no light
curves. Either of two forms is read: ``lsst_train.npz`` and ``lsst_test.npz`` with the
arrays ``X`` (n, 6, 36) and ``y`` (n), or the archive's own ``LSST_TRAIN.ts`` and
``LSST_TEST.ts``. The order of the bands is u g r i z y by the archive's
description; nothing in the data confirms it.

Notation: n series, K classes.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.datasets.plasticc_classes import CLASS_OF_NUMBER, label_numbers
from models.errors import ConfigurationError, DataError

__all__ = ["UeaSeries", "load_uea"]

N_BANDS: Final = 6
N_STEPS: Final = 36

_PARTS: Final = ("train", "test")
_EXPECTED: Final = (
    "the folder must contain LSST_TRAIN.ts and LSST_TEST.ts "
    "(https://timeseriesclassification.com/aeon-toolkit/LSST.zip), or lsst_train.npz and "
    "lsst_test.npz with the arrays X (n, 6, 36) and y (n)"
)


@dataclass(frozen=True, slots=True)
class UeaSeries:
    """n series of one part of the archive's split."""

    name: str
    """The honest name of the data."""
    flux: npt.NDArray[np.float32]
    """[n, 6, 36] FLUXCAL, not normalised: bands by steps of unknown times."""
    classes: tuple[str, ...]
    """K names of `models.taxonomy`."""
    label: npt.NDArray[np.int64]
    """[n] row of ``classes``."""

    def __len__(self) -> int:
        return len(self.flux)


def load_uea(folder: Path, part: str) -> UeaSeries:
    """Read the part ``train`` or ``test``; `DataError` when its file is not as documented."""
    if part not in _PARTS:
        raise ConfigurationError(f"no part {part!r}; known: {', '.join(_PARTS)}", part)
    archive, text = folder / f"lsst_{part}.npz", folder / f"LSST_{part.upper()}.ts"
    flux, number = _read_npz(archive) if archive.exists() else _read_ts(text)
    if flux.shape != (len(number), N_BANDS, N_STEPS):
        raise DataError(f"series of {folder} have the shape {flux.shape}: {_EXPECTED}", flux.shape)
    return UeaSeries(
        f"UEA LSST, {part} part (from PLAsTiCC)",
        flux,
        tuple(CLASS_OF_NUMBER.values()),
        label_numbers(number),
    )


def _read_npz(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("X", "y") if name not in arrays]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}: {_EXPECTED}", missing)
            return arrays["X"].astype(np.float32), arrays["y"].astype(np.int64)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an npz archive: {_EXPECTED}", path) from error


def _read_ts(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Read lines of ``band:band:...:class``, a band being values with commas between."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {_EXPECTED}", path) from error
    heads = [i for i, line in enumerate(lines) if line.strip().lower() == "@data"]
    if not heads:
        raise DataError(f"{path} has no line @data: {_EXPECTED}", path)
    rows = [line for line in lines[heads[0] + 1 :] if line.strip()]
    try:
        parsed = [_parse(row) for row in rows]
        flux = np.array([flux for flux, _ in parsed], np.float32)
    except ValueError as error:
        raise DataError(f"{path} has a line that is no series ({error}): {_EXPECTED}", path) from (
            error
        )
    return flux, np.array([number for _, number in parsed], np.int64)


def _parse(row: str) -> tuple[list[list[float]], int]:
    *bands, number = row.strip().split(":")
    return [[float(value) for value in band.split(",")] for band in bands], int(float(number))
