"""Class numbers of PLAsTiCC (arXiv 1810.00001) and the classes of t2 that they stand for."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError

__all__ = ["CLASS_OF_NUMBER", "UNSEEN_NUMBERS", "label_numbers"]

CLASS_OF_NUMBER: Final = {
    6: "mu-Lens",
    15: "TDE",
    16: "EB",
    42: "SNII",
    52: "SNIax",
    53: "Mira",
    62: "SNIbc",
    64: "KN",
    65: "M-dwarf",
    67: "SNIa-91bg",
    88: "AGN",
    90: "SNIa",
    92: "RRL",
    95: "SLSN-I",
}
"""Number -> name in `models.taxonomy`, in the order of t2."""

UNSEEN_NUMBERS: Final = (99, 991, 992, 993, 994, 995)
"""Classes that only the test part has: binary and string lenses, ILOT, CaRT, PISN; 99 is any."""


def label_numbers(number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the row of each class number [n] in `CLASS_OF_NUMBER`; `DataError` for others."""
    unique, which = np.unique(number, return_inverse=True)
    rows = {number: row for row, number in enumerate(CLASS_OF_NUMBER)}
    unknown = sorted({int(k) for k in unique} - set(rows))
    if unknown:
        known = ", ".join(str(k) for k in rows)
        raise DataError(f"unknown PLAsTiCC classes {unknown}; known: {known}", unknown)
    return np.array([rows[int(k)] for k in unique], np.int64)[which]
