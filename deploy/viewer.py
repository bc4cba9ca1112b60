"""A live view of the classifications topic, for the terminal."""

from __future__ import annotations

import json
import time
from collections import deque
from datetime import datetime
from typing import Any, Final

import numpy as np
from confluent_kafka import TopicPartition
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from stream.librdkafka import KafkaOptions, open_consumer

__all__ = ["Viewer"]

_LATEST: Final = 8
_WINDOW_S: Final = 5.0
_POLL_S: Final = 0.05
_IDLE_S: Final = 1.5


class Viewer:
    """Read a topic of JSON records from its beginning and remember what it said."""

    def __init__(self, options: KafkaOptions, topic: str, partitions: int) -> None:
        self.alerts = 0
        """Records read."""
        self.latency_s: list[float] = []
        """From append to the input topic until the record was read here."""
        self._arrivals: deque[float] = deque()
        self._latest: deque[dict[str, Any]] = deque(maxlen=_LATEST)
        self._consumer = open_consumer(options)
        self._consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])

    def poll(self) -> int:
        """Read what came; return how many records."""
        before = self.alerts
        for message in self._consumer.consume(500, _POLL_S):
            if message.error() is None:
                self._add(json.loads(message.value() or b"{}"))
        return self.alerts - before

    def drain(self) -> None:
        """Read on until nothing has come for a while."""
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < _IDLE_S:
            if self.poll():
                idle_since = time.monotonic()

    def close(self) -> None:
        """Let go of the topic."""
        self._consumer.close()

    def render(self) -> Group:
        """Return rate, latency and the latest records."""
        table = Table(title="Latest classifications", title_justify="left")
        for name in ("survey", "object", "observations", "outcome", "most probable"):
            table.add_column(name)
        for record in self._latest:
            answer = record["probabilities"] or {}
            best = max(answer, key=answer.__getitem__, default="")
            table.add_row(
                record["survey"],
                escape(record["object_id"]),
                str(record["n_observations"]),
                record["reason"] or record["outcome"],
                f"{best} {answer[best]:.2f}" if best else "",
            )
        rate = f"{self.alerts:,} alerts classified or not, {self._rate():,.0f} alerts/s"
        return Group(rate, self.latency(), table)

    def latency(self) -> str:
        """Return the percentiles of the end-to-end latency as a line of text."""
        if not self.latency_s:
            return "waiting for the first alert"
        p50, p95, p99 = np.percentile(self.latency_s, [50, 95, 99])
        return f"end-to-end latency: median {p50:.3f} s, 95 % {p95:.3f} s, 99 % {p99:.3f} s"

    def _add(self, record: dict[str, Any]) -> None:
        self.alerts += 1
        appended = datetime.fromisoformat(record["alert_time"]).timestamp()
        self.latency_s.append(time.time() - appended)
        self._arrivals.append(time.monotonic())
        self._latest.appendleft(record)

    def _rate(self) -> float:
        now = time.monotonic()
        while self._arrivals and self._arrivals[0] < now - _WINDOW_S:
            self._arrivals.popleft()
        return len(self._arrivals) / _WINDOW_S
