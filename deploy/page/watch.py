"""Look at a service while it works, for the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from models.bundle import Bundle
from stream.accounting import Accounting
from stream.history import SAMPLE_S, History
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.recent import RecentAlerts

__all__ = ["DriftSeen", "Watch"]


class DriftSeen(Protocol):
    """Population stability indices of a night against the model's card; NaN where unknown."""

    @property
    def alerts(self) -> int:
        """Return how many alerts they are about."""
        ...

    @property
    def features(self) -> Mapping[str, float]:
        """Return that of each feature."""
        ...

    @property
    def classes(self) -> float:
        """Return that of the most probable classes."""
        ...


class Watch:
    """What the page knows of a service: its latest alerts and its last hour.

    ``bundle`` returns the model that answers, ``drift`` what is known of drift, None where
    nobody looks for it; both are called on the thread of the HTTP server.
    """

    def __init__(
        self,
        accounting: Accounting,
        metrics: Metrics,
        bundle: Callable[[], Bundle],
        n_alerts: int,
        drift: Callable[[], DriftSeen | None] = lambda: None,
    ) -> None:
        self.metrics = metrics
        self.bundle = bundle
        self.recent = RecentAlerts(n_alerts)
        self.history = History(accounting, metrics)
        self.drift = drift
        self._thread = threading.Thread(target=self._sample, name="history", daemon=True)

    def record(self, outcomes: Outcomes) -> None:
        """Take note of a batch that was delivered."""
        self.history.record(outcomes)
        self.recent.add(outcomes)

    def start(self) -> None:
        """Sample from now on, to the end of the process."""
        self._thread.start()

    def _sample(self) -> None:
        while True:
            time.sleep(SAMPLE_S)
            with self.metrics.background("page"):
                self.history.sample()
