"""The classes that tinyt2 can name, with their ids in the ELAsTiCC taxonomy.

Ids and names follow the DESC taxonomy of the ELAsTiCC broker challenge; the
obsolete three-digit ids of its first version are not used.
"""

from __future__ import annotations

from typing import Final

from models.errors import ConfigurationError

__all__ = ["CLASS_IDS", "NOT_CLASSIFIED_ID", "RESIDUAL_ID", "class_id"]

CLASS_IDS: Final[dict[str, int]] = {
    "SNIa": 2222,
    "SNIbc": 2223,
    "SNII": 2224,
    "SNIax": 2225,
    "SNIa-91bg": 2226,
    "KN": 2232,
    "M-dwarf": 2233,
    "DN": 2234,
    "mu-Lens": 2235,
    "SLSN-I": 2242,
    "TDE": 2243,
    "ILOT": 2244,
    "CART": 2245,
    "PISN": 2246,
    "Cepheid": 2322,
    "RRL": 2323,
    "d-Sct": 2324,
    "EB": 2325,
    "Mira": 2326,
    "AGN": 2332,
}
"""Class name -> taxonomy id."""

RESIDUAL_ID: Final = 200
"""Takes the probability that the classes of a model leave over."""

NOT_CLASSIFIED_ID: Final = 300
"""Stands with probability 1 for an alert that was not classified."""


def class_id(name: str) -> int:
    """Return the taxonomy id of a class name; `ConfigurationError` for an unknown one."""
    try:
        return CLASS_IDS[name]
    except KeyError:
        known = ", ".join(CLASS_IDS)
        raise ConfigurationError(f"unknown class {name!r}; known: {known}", name) from None
