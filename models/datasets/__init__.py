"""Labelled data sets by name; each is a loader from a folder into `LabelledCurves`.

``models/datasets/README.md`` says what each set is, where it can be had and on which
terms. Not of this form, and therefore not in `LOADERS`, are `models.datasets.uea`
(series without times) and `models.datasets.ztf_templates` (input of simulations).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from models.datasets.asas import load_asas
from models.datasets.bts import load_bts
from models.datasets.labelled import LabelledCurves
from models.datasets.pantheon import load_pantheon
from models.datasets.parquet import load_parquet
from models.datasets.plasticc import load_plasticc
from models.datasets.spcc import load_spcc
from models.datasets.stripe82 import load_stripe82
from models.errors import ConfigurationError

__all__ = ["LOADERS", "LabelledCurves", "load"]

LOADERS: Final[dict[str, Callable[[Path], LabelledCurves]]] = {
    "spcc": load_spcc,
    "plasticc": load_plasticc,
    "parquet": load_parquet,
    "bts": load_bts,
    "stripe82": load_stripe82,
    "pantheon": load_pantheon,
    "asas": load_asas,
}
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
