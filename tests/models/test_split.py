"""The parts of a data set share no object, and held-out templates occur nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.datasets import LabelledCurves, load
from models.recipe import DataRecipe
from models.split import Parts, divide
from tests.models.supernovae import TEMPLATES, random_curves, write_spcc


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledCurves:
    return load("spcc", write_spcc(tmp_path_factory.mktemp("spcc"), per_template=20))


def by_template(seed: int, validation: float = 0.2, test: float = 0.2) -> DataRecipe:
    return DataRecipe(split="template", split_seed=seed, validation=validation, test=test)


def names(part: LabelledCurves) -> set[str]:
    return {part.groups[g] for g in part.group}


def all_parts(parts: Parts) -> list[LabelledCurves]:
    return [parts.train, parts.validation, *parts.tests.values()]


@pytest.mark.parametrize("how", [by_template(0), by_template(3), DataRecipe(split="object")])
def test_every_object_is_in_one_part_and_every_class_in_every_part(
    data: LabelledCurves, how: DataRecipe
) -> None:
    parts = all_parts(divide(data, how))
    ids = np.concatenate([part.object_id for part in parts])
    assert sorted(ids.tolist()) == sorted(data.object_id.tolist())
    for part in parts:
        assert set(part.label) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_held_out_templates_are_in_one_part_only(data: LabelledCurves, seed: int) -> None:
    parts = divide(data, by_template(seed))
    trained = names(parts.train) | names(parts.tests["objects"])
    held_out = set(parts.held_out)
    assert held_out
    assert not trained & held_out
    for one, other in [("templates", parts.validation), ("templates", parts.tests["objects"])]:
        shared = names(parts.tests[one]) & names(other)
        assert shared <= set(TEMPLATES["Ia"])
    assert held_out <= names(parts.validation) | names(parts.tests["templates"])


def test_two_templates_are_too_few_to_hold_one_out(data: LabelledCurves) -> None:
    parts = divide(data, by_template(0))
    assert not set(TEMPLATES["Ia"]) & set(parts.held_out)
    assert np.sum(parts.tests["templates"].label == 0) == round(0.2 * 40)


def test_by_object_the_fractions_are_as_asked(data: LabelledCurves) -> None:
    parts = divide(data, DataRecipe(split="object", validation=0.1, test=0.25))
    assert set(parts.tests) == {"objects"}
    assert parts.held_out == ()
    assert len(parts.validation) == pytest.approx(0.1 * len(data), abs=3)
    assert len(parts.tests["objects"]) == pytest.approx(0.25 * len(data), abs=3)


def test_the_seed_decides(data: LabelledCurves) -> None:
    first, again, other = (divide(data, by_template(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.validation.object_id, again.validation.object_id)
    assert first.validation.object_id.tolist() != other.validation.object_id.tolist()


def test_what_is_validated_on_does_not_change_what_is_tested_on(data: LabelledCurves) -> None:
    some, more = divide(data, by_template(1, 0.1)), divide(data, by_template(1, 0.3))
    assert names(some.tests["templates"]) == names(more.tests["templates"])


def test_one_template_larger_than_the_fraction_leaves_the_smallest_out() -> None:
    """Five templates of 10, 30, 30, 30, 30 objects and fractions of 5 %."""
    counts = [10, 30, 30, 30, 30]
    curves, _ = random_curves([1] * sum(counts))
    zeros = np.zeros(sum(counts), np.int64)
    small = LabelledCurves("x", curves, ("SNIa",), zeros, zeros, tuple("abcde"), zeros)
    small = replace(small, group=np.repeat(np.arange(5), counts))
    assert names(divide(small, by_template(0, 0.05, 0.05)).tests["templates"]) == {"a"}
