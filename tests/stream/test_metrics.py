from __future__ import annotations

import dataclasses

import numpy as np
from prometheus_client import CollectorRegistry

from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from tests.pipelines import NOW_MS


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    value = registry.get_sample_value(name, labels)
    assert value is not None, name
    return value


def test_outcomes_are_counted(outcomes: Outcomes, metrics: Metrics) -> None:
    metrics.consumed(outcomes.messages, 0.02)
    metrics.delivered(outcomes, NOW_MS)
    samples = [s for family in metrics.registry.collect() for s in family.samples]
    total = {
        name: sum(s.value for s in samples if s.name == name) for name in {s.name for s in samples}
    }
    assert total["tinyt2_messages_consumed_total"] == len(outcomes.messages)
    assert (
        total["tinyt2_messages_decoded_total"] + total["tinyt2_dead_letters_total"]
        == total["tinyt2_messages_consumed_total"]
    )
    assert total["tinyt2_alerts_total"] == len(outcomes.alerts)
    assert total["tinyt2_alerts_consumed_total"] == len(outcomes.alerts)
    assert total["tinyt2_published_total"] == len(outcomes.alerts)
    assert total["tinyt2_dead_letters_total"] == outcomes.n_refused
    assert total["tinyt2_predicted_class_total"] == len(outcomes.classified)
    assert total["tinyt2_max_probability_count"] == len(outcomes.classified)
    # Archived messages carry no time, so nothing can be said of their latency.
    assert "tinyt2_end_to_end_latency_seconds_count" not in total


def test_latency_is_from_append_to_acknowledgement(outcomes: Outcomes, metrics: Metrics) -> None:
    messages = dataclasses.replace(
        outcomes.messages,
        timestamp_ms=np.full(len(outcomes.messages), NOW_MS - 1500),
    )
    metrics.delivered(dataclasses.replace(outcomes, messages=messages), NOW_MS)
    n_ztf = outcomes.alerts.survey.to_pylist().count("ztf")
    name = "tinyt2_end_to_end_latency_seconds"
    assert _value(metrics.registry, f"{name}_count", survey="ztf") == n_ztf
    assert _value(metrics.registry, f"{name}_sum", survey="ztf") == 1.5 * n_ztf


def test_the_model_is_named(outcomes: Outcomes, metrics: Metrics) -> None:
    metrics.model(outcomes.bundle)
    manifest = outcomes.bundle.manifest
    labels = {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": outcomes.bundle.sha256,
        "provider": "CPUExecutionProvider",
        "precision": manifest.precision,
    }
    assert metrics.registry.get_sample_value("tinyt2_model_info", labels) == 1


def test_the_files_of_an_archive_do_not_become_labels(outcomes: Outcomes) -> None:
    metrics = Metrics(topic="archive")
    metrics.consumed(outcomes.messages, 0.0)
    metrics.delivered(outcomes, NOW_MS)
    topics = {
        sample.labels["topic"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "topic" in sample.labels
    }
    assert topics == {"archive"}
