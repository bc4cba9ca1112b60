"""Evaluate real bundles, of untrained networks, on data sets with other classes than theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.answers import UNKNOWN, Alerts, Served, answer, restricted
from models.augment import at_detection, at_last_detection, n_detections
from models.datasets import LabelledCurves
from models.errors import ConfigurationError, DataError
from models.evaluate import figures
from models.evaluate_bundle import EvaluationConfig, evaluate_bundle, evaluation_summary
from models.lightcurve import LightCurves
from models.runtime import OnnxClassifier, load_classifier
from tests.models.supernovae import random_curves

FEW = EvaluationConfig(
    bootstrap=5, detections=(1, 3, 500), days=(0, 30), random_alerts=2, precisions=(0.4,)
)


def labelled(classes: tuple[str, ...], n: int = 60) -> LabelledCurves:
    """Return curves that alternate between LSST and ZTF, the last one without a detection."""
    parts = [
        random_curves([25], seed=i, bands=range(*ends))
        for i in range(n)
        if (ends := (0, 6) if i % 2 else (6, 9))
    ]
    columns = {
        name: np.concatenate([getattr(part, name) for part, _ in parts])
        for name in ("mjd", "band", "flux", "flux_err", "detected")
    }
    columns["detected"][-25:] = False
    return LabelledCurves(
        name="made up",
        curves=LightCurves(np.arange(n + 1) * 25, **columns),
        classes=classes,
        label=np.arange(n) % len(classes),
        group=np.zeros(n, np.int64),
        groups=("one",),
        object_id=np.arange(n) + 100,
    )


@pytest.fixture
def classifier(bundle_path: Path) -> OnnxClassifier:
    return load_classifier(bundle_path)


def test_the_figures_are_those_of_the_served_answers(classifier: OnnxClassifier) -> None:
    data = labelled(("SNII", "SNIa", "SNIbc"))  # another order than the model's
    got = evaluate_bundle(classifier, data, FEW).result
    rows = np.flatnonzero(n_detections(data.curves))
    some = data.curves.take(rows)
    probabilities = classifier.predict(some, at_last_detection(some)).probabilities
    label = np.array([2, 0, 1])[data.label[rows]]
    expected = figures(probabilities.astype(float), label, ("SNIa", "SNIbc", "SNII"), 5)
    for name in ("log_loss", "macro_f1", "auc_SNIa", "ece", "confusion", "objects"):
        assert got["last_detection"][name] == expected[name]
    assert got["mode"] == "all classes of the model"
    assert got["restricted"] == {}
    assert got["data"]["without_detection"] == 1


def test_moments_and_slices_count_alerts_and_objects(classifier: OnnxClassifier) -> None:
    data = labelled(("SNIa", "SNIbc", "SNII"))
    got = evaluate_bundle(classifier, data, FEW).result
    count = n_detections(data.curves)
    assert got["random_detection"]["objects"] == 59
    assert got["random_detection"]["alerts"] == 2 * 59
    assert list(got["at_detection"]) == ["1", "3"]
    assert got["at_detection"]["3"]["objects"] == np.sum(count >= 3)
    assert {entry["objects"] for entry in got["at_days"].values()} == {59}
    assert set(got["surveys"]) == {"lsst", "ztf"}
    halves = [got["surveys"][name]["last_detection"]["objects"] for name in ("lsst", "ztf")]
    assert halves == [29, 30]


def test_alerts_that_would_not_be_served_are_not_evaluated(classifier: OnnxClassifier) -> None:
    manifest = classifier.bundle.manifest.model_copy(update={"minimum_observations": 10})
    picky = OnnxClassifier(replace(classifier.bundle, manifest=manifest))
    data = labelled(("SNIa", "SNIbc", "SNII"))
    got = evaluate_bundle(picky, data, FEW).result["at_detection"]["1"]
    first = at_detection(data.curves, np.zeros(60, np.int64))
    seen = data.curves.where(data.curves.mjd <= np.repeat(first, 25)).n_observations[:59]
    assert got["alerts"] == np.sum(seen >= 10)
    assert got["refused"] == np.sum(seen < 10) > 0


def test_classes_that_the_model_lacks_measure_rejection(classifier: OnnxClassifier) -> None:
    data = labelled(("SNIa", "Cepheid", "SNII", "DN"))
    got = evaluate_bundle(classifier, data, FEW).result
    assert got["data"]["known_classes"] == ["SNIa", "SNII"]
    assert got["data"]["unknown_classes"] == ["Cepheid", "DN"]
    assert got["mode"] == "2 of the 3 classes of the model"
    assert got["last_detection"]["objects"] == 30
    assert got["rejection"]["Cepheid"]["alerts"] == 30
    assert 0 <= got["rejection"]["all"]["auc"]["value"] <= 1
    assert sum(got["called"]["last_detection"]["Cepheid"].values()) == 15
    assert not any("SNIbc" in name for name in got["last_detection"])
    assert "recall_SNII" in got["last_detection"]


def test_fewer_classes_are_also_judged_among_themselves(classifier: OnnxClassifier) -> None:
    evaluation = evaluate_bundle(classifier, labelled(("SNIa", "SNII")), FEW)
    got, answers = evaluation.result, evaluation.answers["last_detection"]
    among = restricted(answers.probabilities, np.array([0, 2]))
    expected = figures(among, answers.label // 2, ("SNIa", "SNII"), 5)
    assert got["restricted"]["last_detection"]["log_loss"] == expected["log_loss"]
    assert got["restricted"]["last_detection"]["log_loss"] != got["last_detection"]["log_loss"]


def test_one_class_has_a_recall_and_no_more(classifier: OnnxClassifier) -> None:
    evaluation = evaluate_bundle(classifier, labelled(("SNII",)), FEW)
    got, answers = evaluation.result, evaluation.answers["last_detection"]
    assert got["mode"] == "single class (SNII): recall only"
    names = {"objects", "alerts", "refused", "recall_SNII", "log_loss_SNII", "confusion"}
    assert set(got["last_detection"]) == names
    recall = np.mean(answers.probabilities.argmax(axis=1) == 2)
    assert got["last_detection"]["recall_SNII"]["value"] == pytest.approx(recall, abs=1e-5)
    assert got["thresholds"] == {"last_detection": {}, "random_detection": {}}


def test_no_common_class_and_no_detection_are_errors(classifier: OnnxClassifier) -> None:
    with pytest.raises(ConfigurationError, match="no alert of a common class"):
        evaluate_bundle(classifier, labelled(("AGN", "RRL")), FEW)
    data = labelled(("SNIa",))
    dark = replace(data.curves, detected=np.zeros(len(data.curves.mjd), np.bool_))
    with pytest.raises(DataError, match="no object of made up has a detection"):
        evaluate_bundle(classifier, replace(data, curves=dark), FEW)


def test_thresholds_of_one_data_set_are_applied_to_another(classifier: OnnxClassifier) -> None:
    found = evaluate_bundle(classifier, labelled(("SNIa", "SNIbc", "SNII")), FEW).result
    other = labelled(("SNIa", "RRL"), 40)
    evaluation = evaluate_bundle(classifier, other, FEW, thresholds=found["thresholds"])
    number, precision = "10", "0.4"
    cut = found["thresholds"]["last_detection"][number]["SNIa"][precision]
    if cut is None:
        pytest.fail("the sample must have a threshold, or this test shows nothing")
    got = evaluation.result["applied"]["last_detection"][number]["SNIa"][precision]
    answers = evaluation.answers["last_detection"]
    for name, kind in (("SNIa", answers.label == 0), ("RRL", answers.label == UNKNOWN)):
        rich = kind & (answers.count >= 10)
        above = np.mean(answers.probabilities[rich, 0] >= cut["probability"])
        assert got[name]["value"] == pytest.approx(above, abs=1e-5)
        assert got[name]["alerts"] == rich.sum() > 0


def test_a_model_against_itself(classifier: OnnxClassifier) -> None:
    data = labelled(("SNIa", "SNIbc", "SNII"))
    got = evaluate_bundle(classifier, data, FEW, against=Served(classifier)).result["against"]
    same = {"value": 1.0, "low": 1.0, "high": 1.0}
    assert got["sha256"] == classifier.bundle.sha256
    assert got["last_detection"]["log_loss_ratio"] == same
    assert got["at_days"]["30"]["flat_log_loss_ratio"] == same
    assert got["last_detection"]["objects"] == 59


def test_alerts_carry_what_they_are_told_to(classifier: OnnxClassifier) -> None:
    def detections_only(curves: LightCurves, trigger: npt.NDArray[np.float64]) -> LightCurves:
        return curves.where(curves.detected)

    data = labelled(("SNIa", "SNIbc", "SNII"))
    got = evaluate_bundle(classifier, data, FEW, carried=detections_only)
    bare = replace(data, curves=data.curves.where(data.curves.detected))
    expected = evaluate_bundle(classifier, bare, FEW)
    assert got.result["last_detection"] == expected.result["last_detection"]
    everything = evaluate_bundle(classifier, data, FEW)
    assert got.result["last_detection"] != everything.result["last_detection"]


def test_an_alert_needs_a_detection(classifier: OnnxClassifier) -> None:
    data = labelled(("SNIa",))
    early = Alerts(np.array([0]), data.curves.mjd[:1] - 1.0)
    with pytest.raises(DataError, match="1 alerts of made up have no detection"):
        answer(Served(classifier), data, early)


def test_restricted_probabilities_sum_to_one() -> None:
    got = restricted(np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]), np.array([1, 2]))
    np.testing.assert_allclose(got, [[3 / 8, 5 / 8], [0.5, 0.5]])


def test_result_and_summary_are_json(classifier: OnnxClassifier) -> None:
    data = labelled(("SNIa", "Cepheid", "SNII", "DN"))
    got = evaluate_bundle(classifier, data, FEW, against=Served(classifier)).result
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    summary = evaluation_summary(got)
    assert summary["last_detection"] == got["last_detection"]
    assert set(summary["at_days"]["30"]) < set(got["at_days"]["30"])
    assert "against" not in summary
    assert "rejection" in summary


def test_progress_comes_to_its_end(classifier: OnnxClassifier) -> None:
    seen: list[tuple[int, int]] = []
    data = labelled(("SNIa", "SNII"))
    evaluate_bundle(
        classifier, data, FEW, progress=lambda what, done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1
