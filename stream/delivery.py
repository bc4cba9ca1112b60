"""At least once: the one place that knows the order write -> flush -> commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from models.errors import DeliveryError
from stream.alerts import MessageBatch
from stream.output.outcomes import Outcomes
from stream.sinks import Sink
from stream.sources import Source

__all__ = ["Delivery"]

_SLICE_S: Final = 0.5
_PATIENCE_S: Final = 2.0
"""How long a step may take before the input is paused."""
_PAUSE_S: Final = 0.01
_SETTLE_S: Final = 5.0
"""How long a rebalance is held up to finish what is in flight."""


class Delivery:
    """Deliver the outcomes of a batch, then commit its messages.

    One batch is in flight at a time: that is what a crash repeats. While the output or
    the commit is slow or away, the input is paused and its group membership kept alive.
    ``drain_s`` bounds that wait once a stop is asked for.
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
        self._stop_at: float | None = None
        self.blocked = False
        """True while the output does not take what it was given."""

    def deliver(self, outcomes: Outcomes) -> bool:
        """Return True when the outcomes are safe and their messages committed.

        False: nothing was published, and the messages will be read again. Raises
        `DeliveryError` when neither can be; then nothing was committed.
        """
        self._sink.write(outcomes)
        settle = partial(self._settle, outcomes.messages)
        self._until(self._sink.flush, outcomes.messages, settle)
        self._until(partial(self._source.commit, outcomes.messages), outcomes.messages, settle)
        self.blocked = False
        return True

    def _until(
        self, done: Callable[[float], bool], messages: MessageBatch, settle: Callable[[], None]
    ) -> None:
        """Come back when a step is done; stay a live member of the group meanwhile."""
        start = asked = time.monotonic()
        while not done(_SLICE_S):
            now = time.monotonic()
            # To pause throws away what was fetched ahead: not for every hiccup. A refusal that
            # comes at once may need the group to be served first.
            if now - start > _PATIENCE_S or now - asked < _SLICE_S / 2:
                self.blocked = True
                self._source.keep_alive(settle)
            self._check_deadline(len(messages))
            asked = time.monotonic()

    def _check_deadline(self, n_messages: int) -> None:
        if not self._stopping():
            return
        now = time.monotonic()
        self._stop_at = self._stop_at or now + self._drain_s
        if now > self._stop_at:
            raise DeliveryError(
                f"the last batch could not be delivered and committed within {self._drain_s:g} s "
                f"of the stop: its {n_messages} messages will be read again",
                n_messages,
            )

    def _settle(self, messages: MessageBatch) -> None:
        """Finish the batch before its partitions are taken away, if that is soon done.

        If not, their new owner reads the messages again.
        """
        end = time.monotonic() + _SETTLE_S
        for done in (self._sink.flush, partial(self._source.commit, messages)):
            while not _done(done):
                if time.monotonic() > end:
                    return
                time.sleep(_PAUSE_S)


def _done(step: Callable[[float], bool]) -> bool:
    """Wait for a slice of a step. What fails for good fails again when it is next waited for."""
    try:
        return step(_SLICE_S)
    except DeliveryError:
        return False
