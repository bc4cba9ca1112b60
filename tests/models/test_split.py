"""The parts of a split share no object, and validation shares no template."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.datasets import LabelledCurves, load
from models.split import split_by_template
from tests.models.supernovae import TEMPLATES, random_curves, write_spcc


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledCurves:
    return load("spcc", write_spcc(tmp_path_factory.mktemp("spcc"), per_template=20))


@pytest.mark.parametrize("seed", range(5))
def test_every_object_is_in_one_part_and_every_class_in_every_part(
    data: LabelledCurves, seed: int
) -> None:
    split = split_by_template(data, seed)
    parts = (split.train, split.validation, split.test)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
    for rows in parts:
        assert set(data.label[rows]) == {0, 1, 2}
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_templates_of_validation_are_never_trained_on(data: LabelledCurves, seed: int) -> None:
    split = split_by_template(data, seed)
    names = np.array(data.groups)[data.group]
    elsewhere = set(names[split.train]) | set(names[split.test])
    assert split.held_out
    assert not elsewhere & set(split.held_out)
    of_validation = names[split.validation][data.label[split.validation] > 0]
    assert set(of_validation) == set(split.held_out)


def test_two_templates_are_too_few_to_hold_one_out(data: LabelledCurves) -> None:
    split = split_by_template(data, 0)
    assert not set(TEMPLATES["Ia"]) & set(split.held_out)
    assert np.sum(data.label[split.validation] == 0) == round(0.2 * 40)
    assert np.sum(data.label[split.test] == 0) == round(0.15 * 32)


def test_the_seed_decides(data: LabelledCurves) -> None:
    first, again, other = (split_by_template(data, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.validation, again.validation)
    np.testing.assert_array_equal(first.test, again.test)
    assert first.validation.tolist() != other.validation.tolist()


def test_one_template_larger_than_the_fraction_leaves_the_smallest_out() -> None:
    """Five templates of 10, 30, 30, 30, 30 objects and a fraction of 5 %."""
    counts = [10, 30, 30, 30, 30]
    curves, _ = random_curves([1] * sum(counts))
    zeros = np.zeros(sum(counts), np.int64)
    small = LabelledCurves("x", curves, ("SNIa",), zeros, zeros, tuple("abcde"), zeros)
    small = replace(small, group=np.repeat(np.arange(5), counts))
    assert split_by_template(small, 0, validation=0.05).held_out == ("a",)
