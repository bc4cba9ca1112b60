from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.features import n_usable
from models.runtime import OnnxClassifier
from stream.alerts import MessageBatch, NotClassifiedReason
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch
from tests.packets import only_for_fastavro


def test_every_message_and_every_alert_has_exactly_one_outcome(
    outcomes: Outcomes, all_messages: MessageBatch
) -> None:
    decoded = set(outcomes.alerts.message.tolist())
    refused = set(outcomes.alerts.refused.message)
    assert not decoded & refused
    assert decoded | refused == set(range(len(all_messages)))
    classified = set(outcomes.classified.tolist())
    not_classified = {
        i for i, reason in enumerate(outcomes.reason.to_pylist()) if reason is not None
    }
    assert not classified & not_classified
    assert classified | not_classified == set(range(len(outcomes.alerts)))
    assert classified and not_classified and refused


def test_probabilities_sum_to_one(outcomes: Outcomes) -> None:
    sums = outcomes.probabilities.sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, atol=1e-5)


def test_reasons_follow_the_alert(outcomes: Outcomes, classifier: OnnxClassifier) -> None:
    manifest = classifier.bundle.manifest
    minimum, most = manifest.minimum_observations, manifest.ood_threshold
    for i, reason in enumerate(outcomes.reason.to_pylist()):
        if outcomes.alerts.solar_system[i]:
            assert reason == NotClassifiedReason.SOLAR_SYSTEM
        elif outcomes.n_observations[i] < minimum:
            assert reason == NotClassifiedReason.TOO_FEW_OBSERVATIONS
        elif most is not None and outcomes.ood_score[i] > most:
            assert reason == NotClassifiedReason.OUT_OF_DISTRIBUTION
        else:
            assert reason is None
    assert set(outcomes.reason.to_pylist()) - {NotClassifiedReason.OUT_OF_DISTRIBUTION} == {
        None,
        NotClassifiedReason.SOLAR_SYSTEM,
        NotClassifiedReason.TOO_FEW_OBSERVATIONS,
    }


def test_an_alert_outside_the_models_surveys_is_not_classified(
    pipeline: Pipeline, all_messages: MessageBatch, classifier: OnnxClassifier
) -> None:
    manifest = classifier.bundle.manifest.model_copy(update={"surveys": ["lsst"]})
    pipeline.classifier = OnnxClassifier(dataclasses.replace(classifier.bundle, manifest=manifest))
    outcomes = pipeline.process(all_messages)
    reasons, surveys = outcomes.reason.to_pylist(), outcomes.alerts.survey.to_pylist()
    ztf = [reason for reason, survey in zip(reasons, surveys, strict=True) if survey == "ztf"]
    assert set(ztf) == {NotClassifiedReason.SURVEY_NOT_SUPPORTED}


def test_answers_do_not_depend_on_the_batch(
    pipeline: Pipeline, outcomes: Outcomes, all_messages: MessageBatch
) -> None:
    together = {
        int(outcomes.alerts.alert_id[row]): p
        for row, p in zip(outcomes.classified, outcomes.probabilities, strict=True)
    }
    for value in all_messages.values[::7]:
        alone = pipeline.process(message_batch([value]))
        for row, p in zip(alone.classified, alone.probabilities, strict=True):
            alert_id = int(alone.alerts.alert_id[row])
            np.testing.assert_allclose(p, together[alert_id], atol=2e-6)


def test_an_empty_batch_has_no_outcomes(pipeline: Pipeline) -> None:
    outcomes = pipeline.process(message_batch([]))
    assert len(outcomes.alerts) == 0
    assert outcomes.alert_table().num_rows == 0


def test_counted_observations_are_those_up_to_the_trigger(outcomes: Outcomes) -> None:
    alerts = outcomes.alerts
    np.testing.assert_array_equal(
        outcomes.n_observations, n_usable(alerts.curves, alerts.trigger_mjd)
    )
    assert outcomes.n_observations.max() > 256


@pytest.mark.parametrize("value", [b"", b"Obj\x01", b"\x00\x00\x00\x03\x84", b"hello", bytes(300)])
def test_rubbish_is_a_dead_letter_with_its_bytes(pipeline: Pipeline, value: bytes) -> None:
    table = pipeline.process(message_batch([value])).dead_letter_table()
    (row,) = table.to_pylist()
    assert row["outcome"] == "dead_letter"
    assert row["payload"] == value
    assert row["reason"]
    assert len(row["error"]) > 10


def test_messages_that_only_fastavro_reads_are_counted(
    pipeline: Pipeline, metrics: Metrics
) -> None:
    for times in (1, 2):
        pipeline.process(message_batch([only_for_fastavro(5)] * times))
    value = metrics.registry.get_sample_value("tinyt2_decoder_fallback_total", {"schema": "Odd"})
    assert value == 3
