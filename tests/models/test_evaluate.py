"""Figures of merit against values worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest

from models.calibrate import fit_temperature, softmax
from models.evaluate import (
    DETECTION_SLICES,
    by_detections,
    evaluate,
    expected_calibration_error,
    figures,
    log_losses,
    point_figures,
)
from models.lightcurve import LightCurves
from tests.models.supernovae import random_curves

CLASSES = ("SNIa", "SNII")
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
LABEL = np.array([0, 0, 0, 1, 1])
# Answers: Ia, Ia, II, Ia, II.


def test_log_losses_by_hand() -> None:
    loss = [-math.log(p) for p in (0.9, 0.6, 0.2, 0.3, 0.6)]
    got = log_losses(PROBABILITIES, LABEL)
    assert got["log_loss"] == pytest.approx(sum(loss) / 5)
    assert got["flat_log_loss"] == pytest.approx((sum(loss[:3]) / 3 + sum(loss[3:]) / 2) / 2)


def test_a_class_without_objects_has_no_flat_log_loss() -> None:
    assert log_losses(PROBABILITIES[:3], LABEL[:3])["flat_log_loss"] is None


def test_impossible_answers_cost_much_but_not_infinitely() -> None:
    got = log_losses(np.array([[1.0, 0.0]]), np.array([1]))
    assert got["log_loss"] == pytest.approx(-math.log(1e-15))


def test_calibration_error_by_hand() -> None:
    # Confidences .9 right, .6 right, .8 wrong, .7 wrong, .6 right in bins of 1/15: 13, 9, 12,
    # 10, 9. Bin 9 holds two with mean confidence .6, both right.
    expected = (0.1 + 2 * 0.4 + 0.8 + 0.7) / 5
    assert expected_calibration_error(PROBABILITIES, LABEL) == pytest.approx(expected)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(certain, np.array([0, 1])) == 0.0


def test_point_figures_by_hand() -> None:
    got = point_figures(PROBABILITIES, LABEL, CLASSES)
    assert got["accuracy"] == pytest.approx(3 / 5)
    assert got["recall_SNIa"] == got["precision_SNIa"] == pytest.approx(2 / 3)
    assert got["recall_SNII"] == got["precision_SNII"] == pytest.approx(1 / 2)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Pairs (Ia, not Ia) in the right order: .9 > .7, .9 > .4, .6 > .4 of six.
    assert got["auc_SNIa"] == got["auc_SNII"] == pytest.approx(3 / 6)


def test_figures_that_a_sample_does_not_define_are_none() -> None:
    got = point_figures(PROBABILITIES[:2], LABEL[:2], CLASSES)
    assert got["recall_SNIa"] == 1.0
    for name in ("recall_SNII", "precision_SNII", "auc_SNIa", "auc_SNII", "macro_f1"):
        assert got[name] is None


def test_confusion_counts_true_by_predicted() -> None:
    got = figures(PROBABILITIES, LABEL, CLASSES, bootstrap=5)
    assert got["confusion"] == [[2, 1], [1, 1]]
    assert got["objects"] == 5


def test_intervals_hold_the_value_and_shrink_with_the_sample() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 1600):
        label = rng.integers(0, 2, n)
        score = rng.normal(label, 1.0)
        probabilities = softmax(np.stack([-score, score], 1))
        got = figures(probabilities, label, CLASSES, bootstrap=100)["accuracy"]
        assert got["low"] < got["value"] < got["high"]
        widths.append(got["high"] - got["low"])
    assert 2.5 < widths[0] / widths[1] < 6.5  # 4 = sqrt(16) in the mean


def test_intervals_come_from_the_seed() -> None:
    first, again, other = (
        figures(PROBABILITIES, LABEL, CLASSES, bootstrap=20, seed=s) for s in (0, 0, 1)
    )
    assert first == again
    assert first != other


def labelled() -> tuple[LightCurves, npt.NDArray[np.int64]]:
    curves, _ = random_curves([30] * 60 + [2] * 5, seed=3)
    return curves, np.arange(65) % 2


def oracle(curves: LightCurves, trigger: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Answer always the same: 0.75 for the first class."""
    return np.tile(np.log(np.array([3, 1], np.float32)), (len(curves), 1))


def test_evaluate_is_json_and_has_every_slice() -> None:
    curves, label = labelled()
    got = evaluate(oracle, curves, label, CLASSES, bootstrap=10)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert set(got) == {"last_detection", "random_detection", "at_detection", "at_days"}
    assert got["last_detection"]["objects"] == 65
    expected = -(33 * math.log(0.75) + 32 * math.log(0.25)) / 65
    assert got["last_detection"]["log_loss"]["value"] == pytest.approx(expected, abs=2e-5)


def test_slices_count_objects_with_enough_detections_at_that_alert() -> None:
    curves, label = labelled()
    seen: dict[int, npt.NDArray[np.float64]] = {}

    def record(some: LightCurves, trigger: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        up_to = some.mjd <= np.repeat(trigger, some.n_observations)
        count = np.add.reduceat(some.detected & up_to, some.splits[:-1])
        seen[len(seen)] = count
        return oracle(some, trigger)

    got = by_detections(record, curves, label, CLASSES, 1.0, bootstrap=2)
    count = np.add.reduceat(curves.detected, curves.splits[:-1])
    for number, counts in zip(DETECTION_SLICES, seen.values(), strict=False):
        assert set(counts) == {number}
        assert got[str(number)]["objects"] == np.sum(count >= number)


def test_temperature_is_found_again() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20000, 3))
    chances = softmax(logits)
    label = (chances.cumsum(1) < rng.random((20000, 1))).sum(1)
    assert fit_temperature(logits, label) == pytest.approx(1.0, abs=0.03)
    assert fit_temperature(3 * logits, label) == pytest.approx(3.0, abs=0.1)


def test_temperature_stays_in_range() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(20.0, rel=1e-3)
