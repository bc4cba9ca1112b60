"""Class names and their ids."""

from __future__ import annotations

import pytest

from models.errors import ConfigurationError
from models.taxonomy import CLASS_IDS, NOT_CLASSIFIED_ID, RESIDUAL_ID, class_id


def test_ids_are_those_of_elasticc() -> None:
    assert {name: class_id(name) for name in ("SNIa", "SNIbc", "SNII", "KN", "AGN")} == {
        "SNIa": 2222,
        "SNIbc": 2223,
        "SNII": 2224,
        "KN": 2232,
        "AGN": 2332,
    }
    assert (RESIDUAL_ID, NOT_CLASSIFIED_ID) == (200, 300)


def test_ids_are_unique_and_not_obsolete() -> None:
    ids = [*CLASS_IDS.values(), RESIDUAL_ID, NOT_CLASSIFIED_ID]
    assert len(set(ids)) == len(ids)
    assert min(CLASS_IDS.values()) >= 1000


def test_unknown_class() -> None:
    with pytest.raises(ConfigurationError, match="unknown class 'SN1a'; known: SNIa") as caught:
        class_id("SN1a")
    assert caught.value.value == "SN1a"
