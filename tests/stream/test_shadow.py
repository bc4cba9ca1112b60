"""A candidate is asked beside the model that answers, as far as there is time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from models.lightcurve import LightCurves
from models.runtime import Classifier, OnnxClassifier, Predictions, load_classifier
from stream.alerts import MessageBatch
from stream.answers import answer
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.shadow import Classified, Shadow, compare
from tests.variants import variant

SOME = ["RRL", "SNIa", "AGN", "Mira"]


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    """Four of the classes, in another order."""
    return load_classifier(variant(tmp_path_factory.mktemp("some"), "4", classes=SOME))


@pytest.fixture
def shadow(metrics: Metrics) -> Iterator[Shadow]:
    shadow = Shadow(metrics)
    shadow.start()
    yield shadow
    shadow.stop()


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def total(metrics: Metrics, name: str) -> float:
    families = metrics.registry.collect()
    return sum(s.value for family in families for s in family.samples if s.name == name)


def wait_for(metrics: Metrics, name: str, amount: float) -> None:
    deadline = time.monotonic() + 30
    while total(metrics, name) < amount:
        assert time.monotonic() < deadline, f"{name} is {total(metrics, name)}, not {amount}"
        time.sleep(0.01)


def made(classifier: Classifier, rows: list[int], probabilities: list[list[float]]) -> Classified:
    return Classified(classifier.bundle, np.array(rows), np.array(probabilities, np.float32))


def test_the_same_model_agrees_in_all(outcomes: Outcomes) -> None:
    same = Classified(outcomes.bundle, outcomes.classified, outcomes.probabilities)
    found = compare(same, same)
    assert found.n == found.agreements == len(outcomes.classified) > 10
    np.testing.assert_array_equal(found.shift, 0)


def test_classes_are_compared_by_name(
    classifier: OnnxClassifier, candidate: OnnxClassifier
) -> None:
    names = [c.name for c in classifier.bundle.manifest.classes]
    current = np.zeros((3, len(names)))
    current[0, names.index("SNIa")] = 1
    current[1, names.index("SNIa")], current[1, names.index("RRL")] = 0.75, 0.25
    current[2, names.index("KN")] = 1  # of which the candidate knows nothing
    found = compare(
        made(classifier, [1, 4, 6], current.tolist()),
        made(candidate, [1, 4, 6], [[0, 1, 0, 0], [0.5, 0.25, 0.25, 0], [1, 0, 0, 0]]),
    )
    assert (found.n, found.agreements) == (3, 1)
    np.testing.assert_allclose(found.shift, [0, 0.5, 1])


def test_what_only_one_of_them_classifies_is_no_agreement(classifier: OnnxClassifier) -> None:
    k = len(classifier.bundle.manifest.classes)
    one = np.eye(k)[:2].tolist()
    found = compare(made(classifier, [2, 5], one), made(classifier, [5, 7], one[::-1]))
    assert (found.n, found.agreements, len(found.shift)) == (3, 1, 1)


class FailsOnce:
    """A classifier that fails the first time that it is asked."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._failed = False
        self.bundle = classifier.bundle

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        if not self._failed:
            self._failed = True
            raise RuntimeError("not enough memory")
        return self._classifier.predict(curves, trigger_mjd, rows)


def test_a_candidate_that_fails_is_told_and_asked_again(
    shadow: Shadow, outcomes: Outcomes, metrics: Metrics, candidate: OnnxClassifier
) -> None:
    shadow.follow(FailsOnce(candidate))
    shadow.offer(outcomes)
    wait_for(metrics, "tinyt2_background_failures_total", 1)
    shadow.offer(outcomes)
    wait_for(metrics, "tinyt2_shadow_predicted_class_total", 1)
    assert value(metrics, "tinyt2_background_failures_total", task="shadow") == 1


def test_a_candidate_is_compared_and_counted(
    shadow: Shadow, outcomes: Outcomes, metrics: Metrics, candidate: OnnxClassifier
) -> None:
    shadow.follow(candidate)
    shadow.offer(outcomes)
    sha256 = candidate.bundle.sha256
    wait_for(metrics, "tinyt2_shadow_predicted_class_total", len(outcomes.classified))
    expected = answer(candidate, outcomes.alerts)
    found = compare(
        Classified(outcomes.bundle, outcomes.classified, outcomes.probabilities),
        Classified(candidate.bundle, expected.classified, expected.probabilities),
    )
    assert 0 < found.agreements < found.n
    shadow.stop()
    assert value(metrics, "tinyt2_shadow_alerts_total", sha256=sha256) == found.n
    assert value(metrics, "tinyt2_shadow_agreements_total", sha256=sha256) == found.agreements
    shift = value(metrics, "tinyt2_shadow_probability_shift_sum", sha256=sha256)
    assert shift == pytest.approx(found.shift.sum(), abs=1e-4)
    count = value(metrics, "tinyt2_shadow_probability_shift_count", sha256=sha256)
    assert count == len(found.shift)
    info = {"name": candidate.bundle.manifest.name, "version": "4", "sha256": sha256}
    assert value(metrics, "tinyt2_shadow_info", **info) == 1


def test_without_a_candidate_nothing_is_kept(
    shadow: Shadow, outcomes: Outcomes, metrics: Metrics, candidate: OnnxClassifier
) -> None:
    shadow.offer(outcomes)
    shadow.follow(candidate)
    shadow.offer(outcomes)
    wait_for(metrics, "tinyt2_shadow_alerts_total", 1)
    shadow.follow(None)
    assert total(metrics, "tinyt2_shadow_info") == 0
    assert value(metrics, "tinyt2_shadow_alerts_total", sha256=candidate.bundle.sha256) is None


class Slow:
    """A model that does not answer until ``answer`` is set."""

    def __init__(self, classifier: OnnxClassifier) -> None:
        self.bundle = classifier.bundle
        self.answer = threading.Event()
        self._classifier = classifier

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        assert self.answer.wait(60)
        return self._classifier.predict(curves, trigger_mjd, rows)


def test_a_busy_candidate_holds_nobody_up_and_what_it_misses_is_counted(
    shadow: Shadow, outcomes: Outcomes, metrics: Metrics, candidate: OnnxClassifier
) -> None:
    slow = Slow(candidate)
    shadow.follow(slow)
    for _ in range(20):
        shadow.offer(outcomes)
    slow.answer.set()
    dropped = value(metrics, "tinyt2_shadow_dropped_alerts_total", sha256=candidate.bundle.sha256)
    assert dropped is not None
    # One may be in hand and two wait.
    assert 17 * len(outcomes.alerts) <= dropped <= 18 * len(outcomes.alerts)


def test_pieces_change_no_answer(
    shadow: Shadow,
    pipeline: Pipeline,
    all_messages: MessageBatch,
    metrics: Metrics,
    classifier: OnnxClassifier,
) -> None:
    """The model that answers agrees with itself, though it is asked in pieces."""
    outcomes = pipeline.process(all_messages.take([*range(len(all_messages))] * 3))
    shadow.follow(classifier)
    shadow.offer(outcomes)
    wait_for(metrics, "tinyt2_shadow_predicted_class_total", len(outcomes.classified))
    shadow.stop()
    n = len(outcomes.classified)
    assert n > 64
    sha256 = classifier.bundle.sha256
    assert value(metrics, "tinyt2_shadow_alerts_total", sha256=sha256) == n
    assert value(metrics, "tinyt2_shadow_agreements_total", sha256=sha256) == n
    shift = value(metrics, "tinyt2_shadow_probability_shift_sum", sha256=sha256)
    assert shift == pytest.approx(0, abs=1e-4)
