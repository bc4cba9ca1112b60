"""What fails beside the delivery is told, and loses nothing."""

from __future__ import annotations

import pytest
import structlog

from stream.alerts import MessageBatch
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.service import BatchLimits, Service
from stream.sinks.memory import MemorySink
from stream.sources.memory import MemorySource


def failures(metrics: Metrics, task: str) -> float | None:
    return metrics.registry.get_sample_value("tinyt2_background_failures_total", {"task": task})


def test_an_observer_that_fails_loses_no_alert_and_is_told(
    pipeline: Pipeline, all_messages: MessageBatch, metrics: Metrics
) -> None:
    def observe(outcomes: Outcomes) -> None:
        with metrics.background("drift"):
            raise ZeroDivisionError

    source, sink = MemorySource(all_messages.values), MemorySink()
    service = Service(source, pipeline, sink, metrics, BatchLimits(max_messages=7), observe)
    with structlog.testing.capture_logs() as lines:
        accounting = service.run()
    assert accounting.messages_consumed == source.committed == len(all_messages)
    assert sink.table().num_rows == accounting.alerts_decoded + accounting.dead_letters.total()
    batches = -(-len(all_messages) // 7)
    assert failures(metrics, "drift") == len(lines) == batches
    assert {(line["log_level"], line["task"]) for line in lines} == {("error", "drift")}
    assert failures(metrics, "page") == 0


def test_an_interruption_is_let_through(metrics: Metrics) -> None:
    with pytest.raises(KeyboardInterrupt), metrics.background("page"):
        raise KeyboardInterrupt
    assert failures(metrics, "page") == 0
