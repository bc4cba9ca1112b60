from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import DeliveryError
from stream.alerts import MessageBatch
from stream.delivery import Delivery
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.service import BatchLimits, Service
from stream.sinks.memory import MemorySink
from stream.sources.memory import MemorySource


class SlowSink(MemorySink):
    """Safe only after a number of flushes; fails for good when that is negative."""

    def __init__(self, flushes: int) -> None:
        super().__init__()
        self.remaining = flushes

    def flush(self, wait_s: float) -> bool:
        if self.remaining < 0:
            raise DeliveryError("the output is gone")
        self.remaining -= 1
        return self.remaining <= 0


class WatchedSource(MemorySource):
    """Counts how often it was kept alive."""

    kept_alive = 0

    def keep_alive(self, settle: Callable[[], None]) -> None:
        self.kept_alive += 1


def test_a_service_ends_with_its_source_and_loses_nothing(
    pipeline: Pipeline, all_messages: MessageBatch, metrics: Metrics
) -> None:
    source, sink = MemorySource(all_messages.values), MemorySink()
    accounting = Service(source, pipeline, sink, metrics, BatchLimits(max_messages=7)).run()
    assert accounting.messages_consumed == source.committed == len(all_messages)
    assert sink.table().num_rows == accounting.alerts_decoded + accounting.dead_letters.total()
    assert source.closed
    assert sink.closed


def test_batches_are_bounded(
    pipeline: Pipeline, all_messages: MessageBatch, metrics: Metrics
) -> None:
    sizes: list[int] = []
    Service(
        MemorySource(all_messages.values),
        pipeline,
        MemorySink(),
        metrics,
        BatchLimits(max_messages=10),
        on_batch=lambda outcomes: sizes.append(len(outcomes.messages)),
    ).run()
    assert max(sizes) == 10
    assert sum(sizes) == len(all_messages)


def test_stop_ends_after_the_batch_in_hand_and_a_restart_goes_on(
    pipeline: Pipeline, all_messages: MessageBatch, metrics: Metrics
) -> None:
    source, sink = MemorySource(all_messages.values), MemorySink()
    service = Service(source, pipeline, sink, metrics, BatchLimits(max_messages=5))
    service._on_batch = lambda outcomes: service.stop()
    assert service.run().messages_consumed == source.committed == 5
    rest = MemorySource(all_messages.values, start=source.committed)
    accounting = Service(rest, pipeline, sink, metrics).run()
    assert 5 + accounting.messages_consumed == len(all_messages)


def test_commit_waits_for_the_output(outcomes: Outcomes) -> None:
    source = WatchedSource(outcomes.messages.values)
    delivery = Delivery(source, SlowSink(flushes=4))
    delivery.deliver(outcomes)
    assert source.kept_alive == 3
    assert source.committed == int(outcomes.messages.offset.max()) + 1


def test_nothing_is_committed_when_the_output_fails(outcomes: Outcomes) -> None:
    source = MemorySource(outcomes.messages.values)
    with pytest.raises(DeliveryError, match="gone"):
        Delivery(source, SlowSink(flushes=-1)).deliver(outcomes)
    assert source.committed == 0


def test_a_stop_does_not_wait_for_ever_for_the_output(outcomes: Outcomes) -> None:
    source = MemorySource(outcomes.messages.values)
    delivery = Delivery(source, SlowSink(flushes=10**9), stopping=lambda: True, drain_s=0.01)
    with pytest.raises(DeliveryError, match="55 messages will be read again"):
        delivery.deliver(outcomes)
    assert delivery.blocked
    assert source.committed == 0


def test_an_error_in_a_batch_commits_nothing(
    pipeline: Pipeline, all_messages: MessageBatch, metrics: Metrics
) -> None:
    source = MemorySource(all_messages.values)
    sink = SlowSink(flushes=-1)
    with pytest.raises(DeliveryError):
        Service(source, pipeline, sink, metrics).run()
    assert source.committed == 0
    assert source.closed
    assert not sink.closed
