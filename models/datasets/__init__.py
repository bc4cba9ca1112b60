"""Labelled data sets by name; each is a loader from a folder into `LabelledCurves`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from models.datasets.labelled import LabelledCurves
from models.datasets.spcc import load_spcc
from models.errors import ConfigurationError

__all__ = ["LOADERS", "LabelledCurves", "load"]

LOADERS: Final[dict[str, Callable[[Path], LabelledCurves]]] = {"spcc": load_spcc}
"""Name of a data set -> the function that reads it from a folder."""


def load(name: str, folder: Path) -> LabelledCurves:
    """Read a data set; `ConfigurationError` for a name that no loader has."""
    try:
        loader = LOADERS[name]
    except KeyError:
        raise ConfigurationError(
            f"no data set {name!r}; known: {', '.join(LOADERS)}", name
        ) from None
    return loader(folder)
