"""At least once: the one place that knows the order write -> flush -> commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from models.errors import DeliveryError
from stream.output.outcomes import Outcomes
from stream.sinks import Sink
from stream.sources import Source

__all__ = ["Delivery"]

_FLUSH_SLICE_S: Final = 0.5


class Delivery:
    """Deliver the outcomes of a batch, then commit its messages.

    While the output is slow or away, the input is paused and its group
    membership kept alive. ``drain_s`` bounds that wait once a stop is asked for.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        stopping: Callable[[], bool] = lambda: False,
        drain_s: float = 20.0,
    ) -> None:
        self._source = source
        self._sink = sink
        self._stopping = stopping
        self._drain_s = drain_s
        self.blocked = False
        """True while the output does not take what it was given."""

    def deliver(self, outcomes: Outcomes) -> None:
        """Return when the outcomes are safe and their messages committed.

        Raises `DeliveryError` when that cannot be; then nothing was committed.
        """
        self._sink.write(outcomes)
        stop_at: float | None = None
        while not self._sink.flush(_FLUSH_SLICE_S):
            self.blocked = True
            self._source.keep_alive()
            if self._stopping():
                stop_at = stop_at or time.monotonic() + self._drain_s
                if time.monotonic() > stop_at:
                    raise DeliveryError(
                        f"the output did not take the last batch within {self._drain_s:g} s; its "
                        f"{len(outcomes.messages)} messages were not committed",
                        len(outcomes.messages),
                    )
        self.blocked = False
        self._source.commit(outcomes.messages)
