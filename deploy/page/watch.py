"""Look at a service while it works, for the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from models.bundle import Bundle
from stream.accounting import Accounting
from stream.history import SAMPLE_S, History
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.recent import RecentAlerts

__all__ = ["Watch"]


class Watch:
    """What the page knows of a service: its latest alerts and its last hour.

    ``bundle`` returns the model that answers, ``drift`` what the page shows of drift, None
    for nothing; both are called on the thread of the HTTP server.
    """

    def __init__(
        self,
        accounting: Accounting,
        metrics: Metrics,
        bundle: Callable[[], Bundle],
        n_alerts: int,
        drift: Callable[[], dict[str, Any] | None] = lambda: None,
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
            self.history.sample()
