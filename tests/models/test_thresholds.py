"""Thresholds worked out by hand."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from models.errors import ConfigurationError
from models.thresholds import Threshold, rate_above, threshold_at_precision

SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
LABEL = np.array([0, 0, 1, 0, 1, 1, 1, 0])
# Class-balanced precision from the top down, all classes with four alerts:
# 1/1, 2/2, 2/3, 3/4, 3/5, 3/6, 3/7, 4/8.


def test_the_cut_has_the_highest_recall_at_the_precision() -> None:
    got = threshold_at_precision(SCORE, LABEL, 0, 0.7)
    assert got == Threshold(probability=0.6, precision=0.75, recall=0.75)
    assert threshold_at_precision(SCORE, LABEL, 0, 0.75) == got
    assert threshold_at_precision(SCORE, LABEL, 0, 0.5) == Threshold(0.2, 0.5, 1.0)


def test_precision_counts_all_classes_alike() -> None:
    """Of 1 and 99 alerts of two classes, all above the cut, half are right if balanced."""
    score, label = np.full(100, 0.5), np.array([0] + [1] * 99)
    found = threshold_at_precision(score, label, 0, 0.5)
    assert found is not None
    assert astuple(found) == pytest.approx((0.5, 0.5, 1.0))
    assert threshold_at_precision(score, label, 0, 0.51) is None


def test_tied_scores_are_cut_together() -> None:
    score, label = np.array([0.9, 0.5, 0.5, 0.1]), np.array([0, 0, 1, 1])
    got = threshold_at_precision(score, label, 0, 0.9)
    assert got == Threshold(0.9, 1.0, 0.5)


def test_without_alerts_of_the_class_there_is_no_threshold() -> None:
    assert threshold_at_precision(SCORE, np.ones(8, np.int64), 0, 0.0) is None
    assert threshold_at_precision(SCORE[:0], LABEL[:0], 0, 0.5) is None


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="within 0 and 1, not at 60"):
        threshold_at_precision(SCORE, LABEL, 0, 60)


def test_rate_above_counts_alerts_and_resamples_objects() -> None:
    got = rate_above(np.array([0.7, 0.6, 0.1, 0.6]), 0.6, np.array([1, 1, 1, 2]), bootstrap=100)
    assert (got["objects"], got["alerts"], got["value"]) == (2, 4, 0.75)
    # The resamples are the first object twice, both, or the second twice.
    assert got["low"] == pytest.approx(2 / 3, abs=1e-5)
    assert got["high"] == 1.0
