"""What it costs the service to remember what the live page shows."""

from __future__ import annotations

from itertools import count
from typing import Final

import numpy as np
from rich.progress import Progress

from deploy.bench.alerts import ZTF, copies, messages
from deploy.bench.measure import Result, single, time_per_alert
from deploy.settings import Settings
from deploy.wiring import open_pipeline
from models.timing import Task, interleave
from stream.accounting import Accounting
from stream.history import History
from stream.metrics import Metrics
from stream.recent import RecentAlerts
from stream.sources.memory import message_batch

__all__ = ["measure"]

_RATE: Final = 10_000
"""Alerts per second."""
_APPENDED_MS: Final = 1_790_000_000_000
_WORK: Final = "decoding and classifying it"


def measure(progress: Progress, rounds: int, alerts: int) -> list[Result]:
    """Record a second of batches of so many ZTF alerts, at 10,000 alerts/s, every so often."""
    metrics = Metrics()
    pipeline = open_pipeline(Settings(), metrics)
    batch = message_batch(copies(messages(ZTF), alerts), timestamp_ms=_APPENDED_MS)
    outcomes = pipeline.process(batch)
    seconds = count(step=len(outcomes.alerts) / _RATE)
    recent = RecentAlerts(Settings().http.page_alerts, clock=lambda: next(seconds))
    history = History(Accounting(), metrics)
    n_batches = max(1, _RATE // len(outcomes.alerts))

    def record() -> None:
        for _ in range(n_batches):
            history.record(outcomes)
            recent.add(outcomes)
        history.sample()

    tasks = {
        "record": Task(record, n_batches * len(outcomes.alerts)),
        "process": Task(lambda: pipeline.process(batch), len(outcomes.alerts)),
    }
    taken = interleave(tasks, rounds, progress, "page_record")
    percent = 100 * _RATE * float(np.median(taken["record"]))
    return [
        time_per_alert("page_record", taken["record"], _WORK, taken["process"]),
        single("page_record_percent", percent, "%", rounds),
    ]
