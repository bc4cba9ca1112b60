"""Weighted figures against scikit-learn, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from models.resampling import interval, ranking, resample, weighted_counts


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranking_equals_scikit_learn_in_every_resample(levels: int) -> None:
    """With three levels most scores are tied."""
    rng = np.random.default_rng(0)
    object_id = rng.integers(0, 60, 200)
    positive = rng.random(200) < 0.3
    score = np.round((rng.normal(positive, 1.0) + 3) * levels / 6) / levels
    resamples = resample(object_id, 20, seed=1)
    area, precision = ranking(resamples, score, positive)
    for r in range(len(resamples)):
        weight = resamples.drawn[r][resamples.row].astype(float)
        assert area[r] == pytest.approx(
            metrics.roc_auc_score(positive, score, sample_weight=weight)
        )
        assert precision[r] == pytest.approx(
            metrics.average_precision_score(positive, score, sample_weight=weight)
        )


def test_ranking_by_hand() -> None:
    alone = resample(np.arange(4), 0, 0)
    area, precision = ranking(alone, np.array([0.9, 0.8, 0.8, 0.1]), np.array([1, 0, 1, 0]) == 1)
    # Pairs: .9 beats both, .8 is tied with .8 and beats .1.
    assert area.tolist() == [3.5 / 4]
    assert precision.tolist() == pytest.approx([0.5 * 1 + 0.5 * 2 / 3])


def test_a_class_without_alerts_has_no_ranking() -> None:
    alone = resample(np.arange(3), 2, 0)
    none = ranking(alone, np.array([0.1, 0.2, 0.3]), np.zeros(3, np.bool_))
    every = ranking(alone, np.array([0.1, 0.2, 0.3]), np.ones(3, np.bool_))
    assert np.isnan(none).all()
    assert np.isnan(every[0]).all()
    assert every[1].tolist() == [1.0, 1.0, 1.0]


def test_counts_by_hand() -> None:
    resamples = resample(np.array([7, 7, 9]), 5, 0)
    cell, value = np.array([0, 1, 1]), np.array([2.0, 3.0, 5.0])
    got = weighted_counts(resamples, cell, 2, value)
    first, second = resamples.drawn[:, 0].astype(float), resamples.drawn[:, 1].astype(float)
    np.testing.assert_array_equal(got, np.stack([2 * first, 3 * first + 5 * second], 1))
    assert got[0].tolist() == [2.0, 8.0]


def test_objects_come_and_go_with_all_their_alerts() -> None:
    object_id = np.array([5, 3, 5, 5, 3])
    resamples = resample(object_id, 50, 0)
    weight = resamples.drawn[:, resamples.row]
    assert resamples.n_objects == 2
    assert (resamples.drawn.sum(axis=1) == 2).all()
    assert (weight[:, [0, 2, 3]] == weight[:, :1]).all()
    assert (weight[0] == 1).all()


def test_resamples_come_from_the_seed() -> None:
    ids = np.arange(30)
    first, again, other = (resample(ids, 3, seed).drawn for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        alerts = (rng.random(150) < 0.7).astype(np.int64)
        counts = weighted_counts(resample(np.arange(150), 200, trial), alerts, 2)
        found = interval(counts[:, 1] / counts.sum(axis=1))
        assert found["low"] is not None
        assert found["high"] is not None
        covered += found["low"] <= 0.7 <= found["high"]
    assert 180 <= covered <= 199  # 190 on average


def test_copies_of_an_alert_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(3)
    hit = (rng.random(200) < 0.5).astype(np.int64)
    single = weighted_counts(resample(np.arange(200), 300, 0), hit, 2)
    copied = weighted_counts(resample(np.repeat(np.arange(200), 9), 300, 0), np.repeat(hit, 9), 2)
    one, nine = (interval(counts[:, 1] / counts.sum(axis=1)) for counts in (single, copied))
    assert one == nine


def test_an_interval_without_values_is_none() -> None:
    assert interval(np.full(3, np.nan)) == {"value": None, "low": None, "high": None}
    assert interval(np.array([0.5])) == {"value": 0.5, "low": None, "high": None}
