"""Answers do not depend on how curves are batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.features import LENGTH_BUCKETS, model_inputs
from models.lightcurve import LightCurves
from models.runtime import OnnxClassifier, golden_curves, load_classifier
from tests.models.supernovae import random_curves


@pytest.fixture(scope="module")
def classifier() -> OnnxClassifier:
    return load_classifier()


def test_probabilities_sum_to_one(classifier: OnnxClassifier) -> None:
    curves, trigger = random_curves([1, 7, 8, 40, 100, 256, 700])
    answer = classifier.predict(curves, trigger)
    assert answer.probabilities.shape == (7, len(classifier.bundle.manifest.classes))
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1.0, rtol=1e-6)
    assert np.isfinite(answer.ood_score).all()


def test_batching_changes_nothing(classifier: OnnxClassifier) -> None:
    curves, trigger = random_curves([3, 60, 5, 61, 12, 500, 8])
    together = classifier.predict(curves, trigger)
    for row in range(len(curves)):
        alone = classifier.predict(curves, trigger, np.array([row]))
        np.testing.assert_allclose(
            alone.probabilities[0], together.probabilities[row], rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(alone.ood_score[0], together.ood_score[row], atol=1e-4)


def test_chunks_change_nothing(classifier: OnnxClassifier) -> None:
    """Chunks hold at most 8 of the longest curves: 20 are three calls."""
    lengths = [LENGTH_BUCKETS[-1]] * 20
    curves, trigger = random_curves(lengths)
    answer = classifier.predict(curves, trigger)
    (inputs,) = model_inputs(curves, trigger)
    at_once = classifier.bundle.session.run(
        None, {"tokens": inputs.tokens, "mask": inputs.mask, "objects": inputs.objects}
    )
    np.testing.assert_allclose(answer.probabilities, at_once[0], atol=1e-5)
    np.testing.assert_allclose(answer.ood_score, at_once[1], atol=1e-4)


def test_rows_come_in_the_order_asked_for(classifier: OnnxClassifier) -> None:
    curves, trigger = random_curves([30, 4, 90, 9])
    everything = classifier.predict(curves, trigger)
    rows = np.array([2, 0, 3])
    some = classifier.predict(curves, trigger, rows)
    np.testing.assert_allclose(some.probabilities, everything.probabilities[rows], atol=1e-5)


def test_no_rows(classifier: OnnxClassifier) -> None:
    curves, trigger = random_curves([5])
    answer = classifier.predict(curves, trigger, np.zeros(0, np.int64))
    assert answer.probabilities.shape == (0, len(classifier.bundle.manifest.classes))


@pytest.mark.parametrize("length", [1, 8, 300])
def test_flat_zero_curve_gets_finite_answers(classifier: OnnxClassifier, length: int) -> None:
    curves, trigger = random_curves([length])
    flat = replace(curves, flux=np.zeros(length, np.float32), detected=np.zeros(length, np.bool_))
    answer = classifier.predict(flat, trigger)
    assert np.isfinite(answer.probabilities).all()
    assert np.isfinite(answer.ood_score).all()


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e6, 1e20])
def test_extreme_fluxes_get_finite_answers(classifier: OnnxClassifier, factor: float) -> None:
    curves, trigger = random_curves([20])
    extreme = replace(
        curves,
        flux=(curves.flux * factor).astype(np.float32),
        flux_err=(curves.flux_err * factor).astype(np.float32),
    )
    answer = classifier.predict(extreme, trigger)
    np.testing.assert_allclose(answer.probabilities.sum(), 1.0, rtol=1e-6)


def test_golden_curves_are_as_the_manifest_says(classifier: OnnxClassifier) -> None:
    for golden in classifier.bundle.manifest.golden:
        curves, trigger = golden_curves(golden)
        assert isinstance(curves, LightCurves)
        assert curves.mjd.tolist() == golden.mjd
        assert curves.detected.tolist() == golden.detected
        assert trigger.tolist() == [golden.trigger_mjd]
        assert golden.mjd[-1] == golden.trigger_mjd


def test_threads_change_nothing(classifier: OnnxClassifier) -> None:
    curves, trigger = random_curves([64] * 8)
    two = load_classifier(threads=2).predict(curves, trigger)
    one = classifier.predict(curves, trigger)
    np.testing.assert_allclose(two.probabilities, one.probabilities, atol=1e-5)
