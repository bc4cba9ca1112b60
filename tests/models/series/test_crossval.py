from __future__ import annotations

import numpy as np
import pytest

from models.datasets.uea import UeaSeries
from models.errors import DataError
from models.series.crossval import cross_validate
from models.series.network import NetworkConfig
from models.series.training import SeriesConfig
from tests.models.series.flares import series

QUICK = SeriesConfig(
    NetworkConfig(
        members=1, summary_members=1, filters=4, bottleneck=4, depth=1, summary=8, hidden=8
    ),
    epochs=15,
    batch=16,
    trees=20,
)


def train(label: np.ndarray) -> UeaSeries:
    flux = series(np.random.default_rng(0), label)
    return UeaSeries("synthetic", flux, ("wave", "faint", "bright"), label)


def test_every_series_is_answered_by_what_did_not_see_it() -> None:
    part = train(np.arange(120) % 3)
    for answer in cross_validate(part, QUICK, folds=2).values():
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
        assert (answer.argmax(axis=1) == part.label).mean() > 0.9


def test_labels_at_random_stay_at_chance_out_of_fold() -> None:
    part = train(np.random.default_rng(1).permutation(np.arange(120) % 3))
    noise = UeaSeries(part.name, part.flux[::-1].copy(), part.classes, part.label)
    for answer in cross_validate(noise, QUICK, folds=2).values():
        assert (answer.argmax(axis=1) == noise.label).mean() < 0.55


def test_a_class_smaller_than_the_folds_is_refused() -> None:
    with pytest.raises(DataError, match="each class needs 5"):
        cross_validate(train(np.array([0, 1, 2] * 4)), QUICK)
