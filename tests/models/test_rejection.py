"""Rejection of what a model does not know."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ConfigurationError, DataError
from models.rejection import rejected, rejection_figures, rejection_threshold


def test_the_threshold_keeps_what_it_is_told_to_keep() -> None:
    score = np.random.default_rng(0).permutation(1000).astype(np.float64)
    for keep, lost in ((0.99, 9), (0.95, 49), (1.0, 0)):
        assert rejected(score, rejection_threshold(score, keep)).sum() == lost


def test_a_fraction_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not at 99"):
        rejection_threshold(np.arange(3.0), 99)
    with pytest.raises(DataError, match="needs alerts"):
        rejection_threshold(np.arange(0.0))


def test_figures_by_hand() -> None:
    known = np.arange(100.0)  # 0.99 keeps up to 99 (rank 98.01, next higher), 0.95 up to 95
    unknown = np.array([200.0, 300.0, 97.0, 10.0])
    kind = np.array([0, 0, 1, 1])
    got = rejection_figures(known, unknown, kind, ("Cepheid", "DN", "d-Sct"), bootstrap=20)
    assert got["thresholds"] == {"0.99": 99.0, "0.95": 95.0}
    assert got["all"]["rejected_at_0.99"]["value"] == 0.5
    assert got["all"]["rejected_at_0.95"]["value"] == 0.75
    assert got["Cepheid"]["auc"]["value"] == 1.0
    # 97 is above 97 known and tied with one, 10 above 10 and tied with one.
    assert got["DN"]["auc"]["value"] == pytest.approx((97.5 + 10.5) / 200)
    assert got["DN"]["rejected_at_0.95"]["value"] == 0.5
    assert got["DN"]["alerts"] == 2
    assert "d-Sct" not in got


def test_objects_of_both_samples_may_share_numbers() -> None:
    """Resampled apart: the one unknown object is drawn or not, whatever the known ones do."""
    known, unknown = np.arange(50.0), np.array([100.0, 100.0])
    same = np.zeros(2, np.int64)
    got = rejection_figures(
        known, unknown, same, ("DN",), np.arange(50), np.zeros(2, np.int64), bootstrap=30
    )
    assert got["DN"]["auc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert got["DN"]["rejected_at_0.99"]["low"] == 1.0
