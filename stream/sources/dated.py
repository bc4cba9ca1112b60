"""Messages from topics with the date of a night in their name; the window of nights moves on."""

from __future__ import annotations

import structlog

from stream.alerts import MessageBatch
from stream.clock import Clock, system_clock
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.sources.gate import SchemaGate
from stream.sources.kafka import KafkaSource
from stream.sources.night import topics_of, window_of

__all__ = ["DatedKafkaSource"]

log = structlog.get_logger()


class DatedKafkaSource(KafkaSource):
    """A source over topics of which some are dated; the window moves on by itself."""

    def __init__(
        self,
        options: KafkaOptions,
        topics: list[str],
        n_nights: int,
        metrics: Metrics,
        clock: Clock = system_clock,
        gate: SchemaGate | None = None,
    ) -> None:
        self._dated = topics
        self._n_nights = n_nights
        self._nights = window_of(clock(), n_nights)
        super().__init__(options, topics_of(topics, self._nights), metrics, clock, gate)

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next messages; see `KafkaSource.poll`."""
        nights = window_of(self._clock(), self._n_nights)
        if nights != self._nights:
            log.info("another night", nights=nights)
            self._nights = nights
            self.subscribe(topics_of(self._dated, nights))
        return super().poll(max_messages, wait_s)
