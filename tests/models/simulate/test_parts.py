"""Simulated parts: both surveys, templates of their own, artefacts beside them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.lightcurve import BANDS
from models.recipe import DataRecipe
from models.simulate.parts import CLASSES, SURVEYS, simulated_parts
from models.split import Parts

RECIPE = DataRecipe(dataset="simulation", per_class=6, held_out_per_class=4, artefacts=0.25)


@pytest.fixture(scope="module")
def parts(inputs: Path) -> Parts:
    return simulated_parts(RECIPE, inputs, Console(file=io.StringIO()))


def test_every_class_of_both_surveys_is_in_every_part(parts: Parts) -> None:
    for part, n in [(parts.train, 6), (parts.validation, 4), (parts.tests["templates"], 4)]:
        assert part.classes == CLASSES
        first = part.curves.band[part.curves.splits[:-1]]
        survey = np.array([band.survey for band in BANDS])[first]
        for name in SURVEYS:
            counts = np.bincount(part.label[survey == name], minlength=len(CLASSES))
            assert counts.tolist() == [n] * len(CLASSES)
        assert len(np.unique(part.object_id)) == len(part)


def test_held_out_templates_are_not_trained_on(parts: Parts) -> None:
    def names(part: str) -> set[str]:
        data = {"train": parts.train, "validation": parts.validation, **parts.tests}[part]
        return {data.groups[g] for g in np.unique(data.group)}

    assert parts.held_out
    assert not names("train") & set(parts.held_out)
    assert not names("validation") & names("templates") & set(parts.held_out)


def test_artefacts_come_in_proportion_and_redshifts_only_when_asked_for(
    parts: Parts, inputs: Path
) -> None:
    assert set(parts.artefacts) == {"train", "validation", "test"}
    assert len(parts.artefacts["train"]) == pytest.approx(0.25 * len(parts.train), abs=2)
    assert parts.train.curves.redshift is None
    # Else what is known of them would give artefacts away.
    assert all(curves.redshift is None for curves in parts.artefacts.values())
    asked = RECIPE.model_copy(update={"redshift": True, "artefacts": 0.0})
    known = simulated_parts(asked, inputs, Console(file=io.StringIO()))
    assert known.artefacts == {}
    assert known.train.curves.redshift is not None
    supernovae = known.train.label == CLASSES.index("SNIa")
    assert np.isfinite(known.train.curves.redshift[supernovae]).all()
    stars = known.train.label == CLASSES.index("RRL")
    assert np.isnan(known.train.curves.redshift[stars]).all()
