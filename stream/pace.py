"""Work beside the service that must not hold it up: in small pieces, with rests between them."""

from __future__ import annotations

import time
from threading import Event

__all__ = ["Pace"]


class Pace:
    """Keeps a thread from taking more than a share of one core.

    A lower priority of the thread would do harm: while it waits for the processor with the
    interpreter's lock in its hands, the service waits with it.
    """

    def __init__(self, share: float, stop: Event) -> None:
        self._rest = 1 / share - 1
        self._stop = stop
        self._since = time.perf_counter()

    def begin(self) -> None:
        """Note that a piece of work begins."""
        self._since = time.perf_counter()

    def rest(self) -> None:
        """Rest in proportion to the piece of work that is done, but not after a stop."""
        self._stop.wait(self._rest * (time.perf_counter() - self._since))
        self.begin()
