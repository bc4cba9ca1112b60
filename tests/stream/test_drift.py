"""How far a night is from what the model was validated on."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.features import OBJECT_CHANNELS, model_inputs, object_channels
from models.runtime import OnnxClassifier
from stream.alerts import MessageBatch
from stream.drift import Drift, stability_index
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from tests.models.supernovae import random_curves

FEATURES = ("log_scale", "log_count", "log_detections", "ood_score")
HOUR_MS = 3_600_000
# 2026-11-24T17:00 UTC.
EVENING_MS = 1_795_539_600_000


def at(outcomes: Outcomes, unix_ms: int) -> Outcomes:
    """Return outcomes whose messages were appended at a time."""
    appended = np.full(len(outcomes.messages), unix_ms)
    messages = dataclasses.replace(
        outcomes.messages, timestamp_ms=appended, ingest_ms=unix_ms + 1000
    )
    return dataclasses.replace(outcomes, messages=messages)


def with_reference(outcomes: Outcomes, reference: dict[str, Any]) -> Outcomes:
    card = outcomes.bundle.card.model_copy(update={"drift_reference": reference})
    return dataclasses.replace(outcomes, bundle=dataclasses.replace(outcomes.bundle, card=card))


def reference_of(outcomes: Outcomes) -> dict[str, Any]:
    """Return the reference of which the outcomes themselves would be the validation alerts."""
    asked = np.flatnonzero(~np.isnan(outcomes.ood_score))
    alerts = outcomes.alerts
    channels = object_channels(alerts.curves, alerts.trigger_mjd, asked)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]

    def described(values: npt.NDArray[np.float32]) -> dict[str, Any]:
        return {"mean": 0, "std": 1, "quantiles": np.quantile(values, levels).tolist()}

    predicted = outcomes.predicted.to_pylist()
    names = [c.name for c in outcomes.bundle.manifest.classes]
    return {
        "quantile_levels": levels,
        "inputs": dict(zip(OBJECT_CHANNELS, map(described, channels.T), strict=True)),
        "ood_score": described(outcomes.ood_score[asked]),
        "predicted_fractions": {name: predicted.count(name) / len(predicted) for name in names},
    }


def n_asked(outcomes: Outcomes) -> int:
    return int((~np.isnan(outcomes.ood_score)).sum())


@pytest.fixture
def drift(metrics: Metrics, classifier: OnnxClassifier) -> Drift:
    return Drift(metrics.models, classifier.bundle, minimum=20)


def test_the_channels_of_objects_are_those_that_models_read() -> None:
    curves, trigger = random_curves([1, 8, 30, 256, 257, 700])
    rows = np.array([5, 0, 3, 4, 1])
    alone = object_channels(curves, trigger, rows)
    for inputs in model_inputs(curves, trigger, rows, (256,)):
        np.testing.assert_array_equal(inputs.objects, alone)
        assert inputs.rows.tolist() == rows.tolist()


def test_the_index_is_zero_for_the_same_and_known_for_others() -> None:
    expected = np.array([0.2, 0.3, 0.5])
    assert stability_index(np.array([200, 300, 500]), expected) == pytest.approx(0, abs=1e-12)
    # (0.5 - 0.2) ln(0.5 / 0.2) + (0.2 - 0.5) ln(0.2 / 0.5)
    index = stability_index(np.array([500_000, 300_000, 200_000]), expected)
    assert index == pytest.approx(0.6 * math.log(2.5), abs=1e-4)


def test_an_empty_bin_is_no_infinity() -> None:
    index = stability_index(np.array([0, 1000]), np.array([0.5, 0.5]))
    assert 1 < index < 10
    assert stability_index(np.array([10, 10]), np.array([0.0, 1.0])) < 10


def test_counts_on_the_edges_of_bins_are_no_drift(drift: Drift, outcomes: Outcomes) -> None:
    """A reference of which the quantiles are a value that many alerts share."""
    reference = reference_of(outcomes)
    least = object_channels(
        outcomes.alerts.curves,
        outcomes.alerts.trigger_mjd,
        np.flatnonzero(~np.isnan(outcomes.ood_score)),
    )[:, OBJECT_CHANNELS.index("log_count")].min()
    quantiles = reference["inputs"]["log_count"]["quantiles"]
    shares = []
    for value in (float(least), float(least) - 0.1):
        # A tenth or a quarter of the reference is not above it: that may be so, or not.
        quantiles[:2] = [value, value]
        drift.observe(with_reference(at(outcomes, EVENING_MS), reference))
        assert drift.latest is not None
        shares.append(drift.latest.features["log_count"])
    assert shares[0] < 0.05 < 0.5 < shares[1]


def test_what_is_like_the_reference_does_not_drift(drift: Drift, outcomes: Outcomes) -> None:
    same = with_reference(at(outcomes, EVENING_MS), reference_of(outcomes))
    drift.observe(same)
    assert drift.latest is not None
    assert drift.latest.alerts == n_asked(outcomes)
    assert drift.latest.classes == pytest.approx(0, abs=1e-9)
    # Counts lie on the edges of bins; quantiles of so few alerts lie between two of them.
    assert all(index < 0.05 for index in drift.latest.features.values()), drift.latest.features
    for tonight, reference in drift.latest.fractions.values():
        assert tonight == pytest.approx(reference)


def test_what_is_unlike_the_reference_drifts(
    drift: Drift, outcomes: Outcomes, metrics: Metrics
) -> None:
    reference = reference_of(outcomes)
    reference["inputs"]["log_scale"]["quantiles"] = [100.0, 101.0, 102.0, 103.0, 104.0]
    first, *others = reference["predicted_fractions"]
    reference["predicted_fractions"] = {first: 1.0, **dict.fromkeys(others, 0.0)}
    drift.observe(with_reference(at(outcomes, EVENING_MS), reference))
    assert drift.latest is not None
    assert drift.latest.features["log_scale"] > 1
    assert drift.latest.classes > 1
    value = metrics.registry.get_sample_value
    assert value("tinyt2_feature_drift", {"feature": "log_scale"}) > 1  # type: ignore[operator]
    assert value("tinyt2_class_drift") == drift.latest.classes
    assert value("tinyt2_drift_alerts") == drift.latest.alerts


def test_the_deployed_card_is_a_reference(drift: Drift, outcomes: Outcomes) -> None:
    drift.observe(at(outcomes, EVENING_MS))
    assert drift.latest is not None
    # What is the same in all of its validation alerts, as unknown redshifts are, is left out.
    assert tuple(drift.latest.features) == FEATURES
    assert all(0 <= index < 10 for index in drift.latest.features.values())
    assert drift.latest.classes > 0


def test_nothing_is_said_of_few_alerts(
    outcomes: Outcomes, metrics: Metrics, classifier: OnnxClassifier
) -> None:
    n = n_asked(outcomes)
    drift = Drift(metrics.models, classifier.bundle, minimum=n + 1)
    drift.observe(at(outcomes, EVENING_MS))
    assert drift.latest is not None
    assert (drift.latest.night, drift.latest.alerts) == ("20261124", n)
    assert all(math.isnan(index) for index in drift.latest.features.values())
    assert math.isnan(drift.latest.classes)
    drift.observe(at(outcomes, EVENING_MS))
    assert drift.latest.alerts == 2 * n
    assert not any(math.isnan(index) for index in drift.latest.features.values())


def test_a_new_night_begins_in_the_afternoon(drift: Drift, outcomes: Outcomes) -> None:
    n = n_asked(outcomes)
    nights = []
    for hours in (-1, 0, 23.9, 1, 24):
        drift.observe(at(outcomes, EVENING_MS + int(hours * HOUR_MS)))
        assert drift.latest is not None
        nights.append((drift.latest.night, drift.latest.alerts))
    assert nights == [
        ("20261123", n),
        ("20261124", n),
        ("20261124", 2 * n),
        ("20261124", 3 * n),
        ("20261125", n),
    ]


def test_what_lags_from_the_night_before_is_left_out(drift: Drift, outcomes: Outcomes) -> None:
    drift.observe(at(outcomes, EVENING_MS))
    before = drift.latest
    drift.observe(at(outcomes, EVENING_MS - HOUR_MS))
    assert drift.latest is before


def test_a_clock_that_is_ahead_makes_no_night(drift: Drift, outcomes: Outcomes) -> None:
    ahead = at(outcomes, EVENING_MS + 1000 * HOUR_MS)
    messages = dataclasses.replace(ahead.messages, ingest_ms=EVENING_MS)
    drift.observe(dataclasses.replace(ahead, messages=messages))
    assert drift.latest is not None
    assert drift.latest.night == "20261124"


def test_messages_without_a_time_count_when_they_were_read(
    drift: Drift, outcomes: Outcomes
) -> None:
    unknown = np.full(len(outcomes.messages), -1)
    messages = dataclasses.replace(
        outcomes.messages, timestamp_ms=unknown, ingest_ms=EVENING_MS - 1
    )
    drift.observe(dataclasses.replace(outcomes, messages=messages))
    assert drift.latest is not None
    assert drift.latest.night == "20261123"


def test_a_new_model_is_compared_with_its_own_reference(
    drift: Drift, outcomes: Outcomes, metrics: Metrics
) -> None:
    drift.observe(at(outcomes, EVENING_MS))
    drift.observe(with_reference(at(outcomes, EVENING_MS), {}))
    assert drift.latest is not None
    assert drift.latest.alerts == n_asked(outcomes)
    assert drift.latest.features == {}
    assert math.isnan(drift.latest.classes)
    found = metrics.registry.get_sample_value("tinyt2_feature_drift", {"feature": "log_scale"})
    assert found is None


def test_it_is_cheap(
    drift: Drift, pipeline: Pipeline, all_messages: MessageBatch, outcomes: Outcomes
) -> None:
    """Less than a twentieth of what the batch itself costs."""
    many = all_messages.take([*range(len(all_messages))] * 10)
    batch, costs = at(pipeline.process(many), EVENING_MS), []
    for work in (lambda: drift.observe(batch), lambda: pipeline.process(many)):
        times = []
        for _ in range(9):
            start = time.thread_time()
            work()
            times.append(time.thread_time() - start)
        costs.append(min(times))
    assert costs[0] < costs[1] / 20, costs
