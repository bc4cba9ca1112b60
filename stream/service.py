"""The loop: poll, process, deliver, until the source ends or a stop is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stream.accounting import Accounting
from stream.clock import Clock, system_clock
from stream.delivery import Delivery
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sinks import Sink
from stream.sources import Source

__all__ = ["BatchLimits", "OpenDelivery", "Service"]

_LIVE_S: Final = 30.0

OpenDelivery = Callable[[Source, Sink, Callable[[], bool]], Delivery]
"""Given source, sink, and what tells whether a stop was asked for."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A micro-batch ends at either bound. ``max_messages`` is also all that is in flight."""

    max_messages: int = 512
    linger_s: float = 0.05
    """From the end of one batch to that of the next: work on the one counts as waiting."""


class Service:
    """A source, a pipeline and a sink at work."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        sink: Sink,
        metrics: Metrics,
        limits: BatchLimits | None = None,
        on_batch: Callable[[Outcomes], None] = lambda outcomes: None,
        clock: Clock = system_clock,
        delivery: OpenDelivery = Delivery,
        accounting: Accounting | None = None,
    ) -> None:
        self.accounting = accounting or Accounting()
        self._stop = threading.Event()
        self._source = source
        self._sink = sink
        self._pipeline = pipeline
        self._delivery = delivery(source, sink, self._come_round)
        self._metrics = metrics
        self._limits = limits or BatchLimits()
        self._on_batch = on_batch
        self._clock = clock
        self._heartbeat = time.monotonic()
        self._linger_until = 0.0

    def stop(self) -> None:
        """Ask the loop to finish the batch in hand and end. May be called from a signal handler."""
        self._stop.set()

    def live(self) -> bool:
        """Return True while the loop comes round."""
        return time.monotonic() - self._heartbeat < _LIVE_S

    def delivering(self) -> bool:
        """Return True unless the output is not taking what it was given."""
        return not self._delivery.blocked

    def run(self) -> Accounting:
        """Work until the source ends or `stop` is called; return the accounts."""
        try:
            while not self._come_round() and self._step():
                pass
            self._sink.close()
        finally:
            # Also after an error: only what was delivered is committed, and the group moves on.
            self._source.close()
        self.accounting.check()
        return self.accounting

    def _come_round(self) -> bool:
        """Note that the loop is alive; True when a stop was asked for."""
        self._heartbeat = time.monotonic()
        self._metrics.output_blocked.set(self._delivery.blocked)
        return self._stop.is_set()

    def _step(self) -> bool:
        """Take one batch all the way; False when the source has ended."""
        start = time.perf_counter()
        # What came while the last batch was worked on has waited already.
        wait_s = max(0.0, self._linger_until - start)
        messages = self._source.poll(self._limits.max_messages, wait_s)
        end = time.perf_counter()
        self._linger_until = end + self._limits.linger_s
        if messages is None:
            return False
        if not len(messages):
            return True
        self.accounting.consumed(messages)
        self._metrics.consumed(messages, end - start)
        self._metrics.in_flight.set(self.accounting.messages_in_flight)
        outcomes = self._pipeline.process(messages)
        with self._metrics.stage("deliver"):
            delivered = self._delivery.deliver(outcomes)
        if delivered:
            self.accounting.delivered(outcomes)
            self._metrics.delivered(outcomes, self._clock())
            self._on_batch(outcomes)
        else:
            self.accounting.released(messages)
            self._metrics.messages_released.inc(len(messages))
        self._metrics.in_flight.set(self.accounting.messages_in_flight)
        return True
