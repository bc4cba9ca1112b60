"""Extra trees learn what is there to learn, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from models.augment import at_last_detection
from models.baselines import fit_extra_trees
from models.datasets import LabelledCurves, load
from models.errors import DataError
from models.evaluate import figures
from tests.models.supernovae import random_curves, write_spcc


@pytest.fixture(scope="module")
def supernovae(tmp_path_factory: pytest.TempPathFactory) -> LabelledCurves:
    return load("spcc", write_spcc(tmp_path_factory.mktemp("spcc"), 30))


def test_trees_tell_supernovae_apart_and_are_calibrated(supernovae: LabelledCurves) -> None:
    curves, label = supernovae.curves, supernovae.label
    trigger = at_last_detection(curves)
    even = np.arange(len(label)) % 2 == 0
    train, test = np.flatnonzero(even), np.flatnonzero(~even)
    trees = fit_extra_trees(curves.take(train), trigger[train], label[train], 3, seed=0, trees=60)
    probabilities = trees.predict(curves.take(test), trigger[test])
    got = figures(probabilities, label[test], supernovae.classes, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert got["macro_auc"]["value"] > 0.9
    mix = np.bincount(label) / len(label)
    assert got["log_loss"]["value"] < -0.6 * np.sum(mix * np.log(mix))


def test_the_seed_makes_the_trees(supernovae: LabelledCurves) -> None:
    trigger = at_last_detection(supernovae.curves)
    first, again, other = (
        fit_extra_trees(supernovae.curves, trigger, supernovae.label, 3, seed, trees=5).predict(
            supernovae.curves, trigger
        )
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_labels_without_cause_are_not_learned() -> None:
    """The temperature keeps answers on noise close to the mix of classes."""
    curves, trigger = random_curves([12] * 400)
    label = np.random.default_rng(0).integers(0, 2, 400)
    rows = np.arange(200)
    trees = fit_extra_trees(curves.take(rows), trigger[rows], label[rows], 2, seed=0, trees=60)
    probabilities = trees.predict(curves.take(rows + 200), trigger[rows + 200])
    got = figures(probabilities, label[rows + 200], ("a", "b"), 5)
    assert got["log_loss"]["value"] == pytest.approx(np.log(2), abs=0.05)


def test_classes_that_did_not_occur_are_impossible() -> None:
    curves, trigger = random_curves([12] * 40)
    trees = fit_extra_trees(curves, trigger, np.arange(40) % 2 * 2, 4, seed=0, trees=5)
    probabilities = trees.predict(curves, trigger)
    assert probabilities.shape == (40, 4)
    assert (probabilities[:, [1, 3]] == 0).all()
    assert (probabilities[:, [0, 2]] > 0).all()


@pytest.mark.parametrize(
    ("label", "said"), [([0, 1], "2 labels for 3"), ([0, 1, 2], "within 0 and 1"), ([], "0 labels")]
)
def test_wrong_labels_are_refused(label: list[int], said: str) -> None:
    curves, trigger = random_curves([4, 4, 4])
    with pytest.raises(DataError, match=said):
        fit_extra_trees(curves, trigger, np.array(label, np.int64), 2, seed=0)
