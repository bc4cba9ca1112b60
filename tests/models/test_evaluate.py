"""Figures of merit against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics

from models.calibrate import fit_temperature, softmax
from models.errors import DataError
from models.evaluate import (
    at_days,
    compare,
    figures,
    resampled_figures,
)
from models.lightcurve import LightCurves
from models.resampling import resample

CLASSES = ("SNIa", "SNII")
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
LABEL = np.array([0, 0, 0, 1, 1])
# Answers: Ia, Ia, II, Ia, II.


def point_figures(
    probabilities: npt.NDArray[np.float64], label: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, float | None]:
    """Return all figures without intervals, None where a figure is not defined."""
    alone = resample(np.arange(len(label)), 0, 0)
    found = resampled_figures(probabilities, label, classes, alone)
    return {name: float(v[0]) if np.isfinite(v[0]) else None for name, v in found.items()}


def test_log_losses_by_hand() -> None:
    loss = [-math.log(p) for p in (0.9, 0.6, 0.2, 0.3, 0.6)]
    got = point_figures(PROBABILITIES, LABEL, CLASSES)
    assert got["log_loss"] == pytest.approx(sum(loss) / 5)
    assert got["flat_log_loss"] == pytest.approx((sum(loss[:3]) / 3 + sum(loss[3:]) / 2) / 2)


def test_a_class_without_objects_has_no_flat_log_loss() -> None:
    assert point_figures(PROBABILITIES[:3], LABEL[:3], CLASSES)["flat_log_loss"] is None


def test_impossible_answers_cost_much_but_not_infinitely() -> None:
    got = point_figures(np.array([[1.0, 0.0]]), np.array([1]), CLASSES)
    assert got["log_loss"] == pytest.approx(-math.log(1e-15))


def test_calibration_error_by_hand() -> None:
    # Confidences .9 right, .6 right, .8 wrong, .7 wrong, .6 right in bins of 1/15: 13, 9, 12,
    # 10, 9. Bin 9 holds two with mean confidence .6, both right.
    expected = (0.1 + 2 * 0.4 + 0.8 + 0.7) / 5
    assert point_figures(PROBABILITIES, LABEL, CLASSES)["ece"] == pytest.approx(expected)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert point_figures(certain, np.array([0, 1]), CLASSES)["ece"] == 0.0


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


def blurred(n: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3))
    logits[np.arange(n), label] += 1.0
    return softmax(logits), label


def test_every_resample_has_the_figures_of_scikit_learn() -> None:
    probabilities, label = blurred(300, 0)
    names = ("a", "b", "c")
    resamples = resample(np.arange(300) // 2, 8, seed=0)
    got = resampled_figures(probabilities, label, names, resamples)
    answer = probabilities.argmax(axis=1)
    for r in range(len(resamples)):
        weight = resamples.drawn[r][resamples.row].astype(float)
        scores = metrics.precision_recall_fscore_support(label, answer, sample_weight=weight)
        for k, name in enumerate(names):
            assert got[f"precision_{name}"][r] == pytest.approx(scores[0][k])
            assert got[f"recall_{name}"][r] == pytest.approx(scores[1][k])
        assert got["macro_f1"][r] == pytest.approx(scores[2].mean())
        assert got["macro_recall"][r] == pytest.approx(scores[1].mean())
        loss = metrics.log_loss(label, probabilities, sample_weight=weight)
        assert got["log_loss"][r] == pytest.approx(loss)
        area = metrics.roc_auc_score(label == 1, probabilities[:, 1], sample_weight=weight)
        assert got["auc_b"][r] == pytest.approx(area)
        # What is resampled by weights is what copies of the rows give.
        rows = np.repeat(np.arange(300), weight.astype(int))
        again = point_figures(probabilities[rows], label[rows], names)
        assert {name: got[name][r] for name in got} == pytest.approx(again)


def test_means_can_leave_out_classes_that_do_not_occur() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    label = np.array([0, 1, 1])
    got = figures(probabilities, label, ("a", "b", "c"), 5, averaged=np.array([0, 1]))
    assert got["flat_log_loss"]["value"] == pytest.approx(
        (-math.log(0.7) - (math.log(0.5) + math.log(0.3)) / 2) / 2, abs=1e-5
    )
    assert got["macro_recall"]["value"] == pytest.approx(0.75)
    everything = figures(probabilities, label, ("a", "b", "c"), 5)
    assert everything["flat_log_loss"]["value"] is None


def test_alerts_of_one_object_are_no_independent_evidence() -> None:
    probabilities, label = blurred(150, 1)
    often = np.repeat(np.arange(150), 6)
    one = figures(probabilities, label, ("a", "b", "c"), 100)
    six = figures(probabilities[often], label[often], ("a", "b", "c"), 100, object_id=often)
    assert (six["objects"], six["alerts"]) == (150, 900)
    for name in ("log_loss", "macro_f1", "auc_a", "ece"):
        assert one[name] == six[name]


def test_comparison_by_hand() -> None:
    better = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    worse = np.array([[0.5, 0.5], [0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    got = compare(better, worse, np.array([0, 0, 1, 1]), CLASSES, bootstrap=50)
    expected = 4 * math.log(0.9) / (2 * math.log(0.9) + math.log(0.5) + math.log(0.4))
    assert got["log_loss_ratio"]["value"] == pytest.approx(expected, abs=1e-5)
    assert got["accuracy_difference"]["value"] == 0.25
    assert got["auc_SNIa_difference"]["value"] == pytest.approx(1 - 3 / 4)
    assert got["objects"] == 4


def test_a_model_does_not_differ_from_itself() -> None:
    probabilities, label = blurred(100, 2)
    got = compare(probabilities, probabilities, label, ("a", "b", "c"), bootstrap=20)
    for name, figure in got.items():
        if name not in ("objects", "alerts"):
            same = 1.0 if name.endswith("_ratio") else 0.0
            assert figure == {"value": same, "low": same, "high": same}


def test_pairing_makes_intervals_of_differences_narrow() -> None:
    """Two models that err on the same objects differ less than their intervals suggest."""
    probabilities, label = blurred(400, 3)
    colder = probabilities**1.05 / (probabilities**1.05).sum(axis=1, keepdims=True)
    ratio = compare(probabilities, colder, label, ("a", "b", "c"), bootstrap=200)["log_loss_ratio"]
    alone = figures(probabilities, label, ("a", "b", "c"), 200)["log_loss"]
    width = (alone["high"] - alone["low"]) / alone["value"]
    assert ratio["high"] - ratio["low"] < 0.2 * width


def test_models_that_answer_differently_are_not_compared() -> None:
    with pytest.raises(DataError, match="must answer alike"):
        compare(PROBABILITIES, PROBABILITIES[:3], LABEL, CLASSES)


def test_alerts_at_days_since_the_first_detection() -> None:
    curves = LightCurves.from_observations(
        curve=np.array([0, 0, 0, 0, 1, 1]),
        mjd=np.array([1.0, 2.0, 5.0, 9.0, 3.0, 4.0]),
        band=np.zeros(6, np.uint8),
        flux=np.ones(6, np.float32),
        flux_err=np.ones(6, np.float32),
        rank=np.array([1, 0, 0, 0, 1, 1], np.uint8),
        n_curves=2,
    )
    assert at_days(curves, 0).tolist() == [2.0, 4.0]
    assert at_days(curves, 2.9).tolist() == [2.0, 4.0]
    assert at_days(curves, 3).tolist() == [5.0, 4.0]
    assert at_days(curves, 1000).tolist() == [9.0, 4.0]


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
