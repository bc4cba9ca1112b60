"""What the service did over the last hour, in samples of ten seconds, and tonight."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Gauge

from stream.accounting import Accounting
from stream.clock import Clock, night_start_ms, system_clock
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes, is_date

__all__ = ["SAMPLE_S", "History", "Lag", "Sample", "Tonight", "lag_of"]

SAMPLE_S: Final = 10.0
"""Length of a sample, seconds."""
_KEPT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the answers are behind the input; None before the broker has said so."""

    seconds: float | None
    """Of the partition that is furthest behind."""
    messages: int | None
    """In all partitions together."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened from the end of the sample before to ``end_ms``, Unix ms."""

    end_ms: int
    seconds: float
    messages: int
    alerts: int
    classified: int
    not_classified: Counter[str]
    """By reason."""
    dead_letters: Counter[str]
    """By reason."""
    latency_s: tuple[float, float] | None
    """Median and 95 % of the end-to-end latency of alerts; None when there were none."""
    lag: Lag


@dataclass(frozen=True, slots=True)
class Tonight:
    """Counts since the night, or this process if that was later, began."""

    since_ms: int
    alerts: int
    classified: int
    not_classified: Counter[str]
    dead_letters: Counter[str]
    classes: Counter[str]
    """Classified alerts by their most probable class."""


class History:
    """Samples of the last hour. `record` is for the thread that works, the rest for another.

    Counts are differences of the accounting, read between two of its sums: at a boundary a
    batch may be in one sample with some of its counts and in the next with the others.
    """

    def __init__(
        self, accounting: Accounting, metrics: Metrics, clock: Clock = system_clock
    ) -> None:
        self._accounting = accounting
        self._metrics = metrics
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=int(_KEPT_S / SAMPLE_S))
        self._before = accounting.copy()
        self._before_ms = self._since_ms = clock()
        self._at_nightfall = self._before
        self.last_alert_ms: int | None = None
        """When alerts were last delivered, Unix ms."""
        self._latencies_s: list[npt.NDArray[np.float32]] = []
        self._lock = threading.Lock()

    def record(self, outcomes: Outcomes) -> None:
        """Note how long the alerts of a batch that was just delivered took."""
        appended = outcomes.messages.timestamp_ms[outcomes.alerts.message]
        now_ms = self._clock()
        if len(appended):
            self.last_alert_ms = now_ms
        latency_s = (now_ms - appended[is_date(appended)]) / 1000
        if len(latency_s):
            with self._lock:
                self._latencies_s.append(latency_s.astype(np.float32))

    def sample(self) -> None:
        """End a sample; to be called every `SAMPLE_S` seconds."""
        now_ms, counts = self._clock(), self._accounting.copy()
        with self._lock:
            latencies, self._latencies_s = self._latencies_s, []
        done = _difference(counts, self._before)
        self._samples.append(
            Sample(
                end_ms=now_ms,
                # At least the resolution of the clock: the time of day may be set back.
                seconds=max(now_ms - self._before_ms, 1) / 1000,
                messages=done.messages_consumed,
                alerts=done.alerts_decoded,
                classified=done.alerts_classified,
                not_classified=done.not_classified,
                dead_letters=done.dead_letters,
                latency_s=_percentiles(latencies),
                lag=lag_of(self._metrics),
            )
        )
        if night_start_ms(now_ms) > self._since_ms:
            self._since_ms, self._at_nightfall = night_start_ms(now_ms), self._before
        self._before, self._before_ms = counts, now_ms

    def samples(self) -> list[Sample]:
        """Return the samples of the last hour, oldest first."""
        return list(self._samples)

    def tonight(self) -> Tonight:
        """Return what was counted tonight, up to now."""
        done = _difference(self._accounting.copy(), self._at_nightfall)
        return Tonight(
            self._since_ms,
            done.alerts_decoded,
            done.alerts_classified,
            done.not_classified,
            done.dead_letters,
            done.classes,
        )


def lag_of(metrics: Metrics) -> Lag:
    """Return the lag that the metrics have now."""
    seconds = _values(metrics.consumer_lag_seconds)
    messages = _values(metrics.consumer_lag_messages)
    return Lag(max(seconds, default=None), int(sum(messages)) if messages else None)


def _values(gauge: Gauge) -> list[float]:
    return [sample.value for family in gauge.collect() for sample in family.samples]


def _difference(after: Accounting, before: Accounting) -> Accounting:
    return Accounting(
        messages_consumed=after.messages_consumed - before.messages_consumed,
        alerts_decoded=after.alerts_decoded - before.alerts_decoded,
        alerts_classified=after.alerts_classified - before.alerts_classified,
        not_classified=after.not_classified - before.not_classified,
        dead_letters=after.dead_letters - before.dead_letters,
        classes=after.classes - before.classes,
    )


def _percentiles(latencies_s: list[npt.NDArray[np.float32]]) -> tuple[float, float] | None:
    if not latencies_s:
        return None
    median, high = np.percentile(np.concatenate(latencies_s), [50, 95])
    return float(median), float(high)
