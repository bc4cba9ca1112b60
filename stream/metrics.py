"""What the service tells Prometheus. Names and units are part of its interface."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final

import numpy as np
import pyarrow as pa
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
)

from models.bundle import Bundle
from stream.alerts import MessageBatch
from stream.background import Background
from stream.histogram import ArrayHistogram
from stream.model_metrics import ModelMetrics
from stream.output.outcomes import Outcomes, is_date
from stream.tally import tally

__all__ = ["Metrics"]

_STAGE_BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
_LATENCY_BUCKETS: Final = (
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
_SIZE_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The metrics of one service, in a registry of its own.

    ``topic`` replaces the topics of messages in labels: those of an archive are
    its files, and a label for each would grow without bound.
    """

    def __init__(self, topic: str | None = None) -> None:
        self._topic = topic
        registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        self.registry: Final = registry
        self._define_flow(registry)
        self._define_timing(registry)
        self._define_kafka(registry)
        self._define_model(registry)
        self.background: Final = Background(registry)
        self.models: Final = ModelMetrics(registry)

    def _define_flow(self, registry: CollectorRegistry) -> None:
        self.messages_consumed = Counter(
            "tinyt2_messages_consumed", "Messages read.", ["topic"], registry=registry
        )
        self.messages_decoded = Counter(
            "tinyt2_messages_decoded",
            "Messages whose alerts all have an outcome.",
            registry=registry,
        )
        self.messages_released = Counter(
            "tinyt2_messages_released",
            "Messages given back unpublished, to be read again: a transaction was aborted.",
            registry=registry,
        )
        self.records_refused = Counter(
            "tinyt2_records_refused",
            "Records of alerts too large for their topic; their messages are dead letters.",
            registry=registry,
        )
        self.alerts_consumed = Counter(
            "tinyt2_alerts_consumed",
            "Alerts decoded from messages.",
            ["survey", "topic"],
            registry=registry,
        )
        self.alerts = Counter(
            "tinyt2_alerts",
            "Alerts by outcome; reason is empty when classified.",
            ["survey", "outcome", "reason"],
            registry=registry,
        )
        self.published = Counter(
            "tinyt2_published", "Records delivered, dead letters apart.", registry=registry
        )
        self.duplicates = Counter(
            "tinyt2_duplicates",
            "Alerts whose id came before in another message.",
            registry=registry,
        )
        self.dead_letters = Counter(
            "tinyt2_dead_letters", "Messages refused.", ["reason"], registry=registry
        )
        self.in_flight = Gauge(
            "tinyt2_in_flight_messages", "Messages read but not yet committed.", registry=registry
        )

    def _define_timing(self, registry: CollectorRegistry) -> None:
        self.batch_size = Histogram(
            "tinyt2_batch_size", "Messages in a batch.", buckets=_SIZE_BUCKETS, registry=registry
        )
        self.batch_wait = Histogram(
            "tinyt2_batch_wait_seconds",
            "Time that a poll took to fill a batch.",
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "tinyt2_stage_duration_seconds",
            "Time of one batch in a stage: decode, classify, deliver, and commit within it.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.end_to_end_latency = ArrayHistogram(
            "tinyt2_end_to_end_latency_seconds",
            "From append to the input topic until our record was acknowledged.",
            ["survey"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )

    def _define_kafka(self, registry: CollectorRegistry) -> None:
        self.consumer_lag_messages = Gauge(
            "tinyt2_consumer_lag_messages",
            "Messages in a partition whose outcomes are not yet delivered.",
            ["topic", "partition"],
            registry=registry,
        )
        self.consumer_lag_seconds = Gauge(
            "tinyt2_consumer_lag_seconds",
            "Age of the last message read while messages wait behind it, else 0.",
            ["topic", "partition"],
            registry=registry,
        )
        self.rebalances = Counter(
            "tinyt2_rebalances", "Assignments of partitions.", registry=registry
        )
        self.held_partitions = Gauge(
            "tinyt2_held_partitions",
            "Partitions that wait for a schema.",
            registry=registry,
        )
        self.commit_failures = Counter(
            "tinyt2_commit_failures", "Commits that failed and were repeated.", registry=registry
        )
        self.output_blocked = Gauge(
            "tinyt2_output_blocked",
            "1 while the input is paused: the output or the commit is slow or away.",
            registry=registry,
        )
        self.schema_cache_hits = Counter(
            "tinyt2_schema_cache_hits", "Schemas found in the cache.", registry=registry
        )
        self.schema_cache_misses = Counter(
            "tinyt2_schema_cache_misses", "Schemas parsed or fetched.", registry=registry
        )
        self.schema_unknown = Counter(
            "tinyt2_schema_unknown", "Messages whose schema id is not known.", registry=registry
        )
        self.decoder_fallback = Counter(
            "tinyt2_decoder_fallback",
            "Messages that only the general decoder could read: slow.",
            ["schema"],
            registry=registry,
        )

    def _define_model(self, registry: CollectorRegistry) -> None:
        self.model_info = Gauge(
            "tinyt2_model_info",
            "The model that answers; always 1.",
            ["name", "version", "sha256", "provider", "precision"],
            registry=registry,
        )
        self.predicted_class = Counter(
            "tinyt2_predicted_class",
            "Classified alerts by most probable class.",
            ["class"],
            registry=registry,
        )
        self.max_probability = ArrayHistogram(
            "tinyt2_max_probability",
            "Probability of the most probable class.",
            buckets=tuple(np.linspace(0.1, 1.0, 10).round(1).tolist()),
            registry=registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Observe how long one batch spends in a stage."""
        start = perf_counter()
        try:
            yield
        finally:
            self.stage_duration.labels(name).observe(perf_counter() - start)

    def model(self, bundle: Bundle) -> None:
        """Name the model that answers from now on."""
        manifest = bundle.manifest
        self.model_info.clear()
        self.model_info.labels(
            manifest.name,
            manifest.version,
            bundle.sha256,
            bundle.provider,
            manifest.precision,
        ).set(1)

    def schemas(self, hits: int, misses: int, unknown: int) -> None:
        """Count look-ups of schemas."""
        self.schema_cache_hits.inc(hits)
        self.schema_cache_misses.inc(misses)
        self.schema_unknown.inc(unknown)

    def fallbacks(self, messages: Tally[str]) -> None:
        """Count messages that only fastavro could read, by the name of their schema."""
        for schema, count in messages.items():
            self.decoder_fallback.labels(schema).inc(count)

    def consumed(self, messages: MessageBatch, wait_s: float) -> None:
        """Count a batch that was read."""
        topics = Tally(messages.topic) if self._topic is None else {self._topic: len(messages)}
        for topic, count in topics.items():
            self.messages_consumed.labels(topic).inc(count)
        self.batch_size.observe(len(messages))
        self.batch_wait.observe(wait_s)

    def delivered(self, outcomes: Outcomes, now_ms: int) -> None:
        """Count a batch whose outcomes had been delivered at a time, Unix ms."""
        alerts, messages = outcomes.alerts, outcomes.messages
        self.messages_decoded.inc(len(messages) - outcomes.n_refused)
        topic_of_alert = self._labels(messages).take(pa.array(alerts.message))
        for (survey, topic), count in tally(alerts.survey, topic_of_alert).items():
            self.alerts_consumed.labels(survey, topic).inc(count)
        for (survey, reason), count in tally(alerts.survey, outcomes.reason).items():
            outcome = "not_classified" if reason else "classified"
            self.alerts.labels(survey, outcome, reason).inc(count)
        for refused, count in Tally(alerts.refused.reason).items():
            self.dead_letters.labels(str(refused)).inc(count)
        self.published.inc(len(alerts))
        if outcomes.duplicate is not None:
            self.duplicates.inc(int(outcomes.duplicate.sum()))
        self._latency(outcomes, now_ms)
        self._answers(outcomes)

    def _labels(self, messages: MessageBatch) -> pa.DictionaryArray:
        """Return the topic that labels each message, [N]."""
        if self._topic is None:
            return messages.topics()
        label = pa.array([self._topic], pa.string())
        return pa.DictionaryArray.from_arrays(np.zeros(len(messages), np.int32), label)

    def _latency(self, outcomes: Outcomes, now_ms: int) -> None:
        appended = outcomes.messages.timestamp_ms[outcomes.alerts.message]
        known = is_date(appended)
        survey = outcomes.alerts.survey
        code = survey.indices.to_numpy()
        for i, name in enumerate(survey.dictionary.to_pylist()):
            latency_ms = now_ms - appended[known & (code == i)]
            if len(latency_ms):
                self.end_to_end_latency.labels(name).observe_all(latency_ms / 1000)

    def _answers(self, outcomes: Outcomes) -> None:
        for (name,), count in tally(outcomes.predicted).items():
            self.predicted_class.labels(name).inc(count)
        self.max_probability.observe_all(outcomes.probabilities.max(axis=1, initial=0))
