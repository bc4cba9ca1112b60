"""Messages from memory: for tests and for use as a library."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from stream.alerts import MessageBatch
from stream.clock import Clock, system_clock

__all__ = ["MemorySource", "message_batch"]


def message_batch(
    values: list[bytes],
    topic: str = "memory",
    first_offset: int = 0,
    timestamp_ms: int = -1,
    ingest_ms: int = 0,
) -> MessageBatch:
    """Return values as consecutive messages of partition 0 of a topic."""
    n = len(values)
    return MessageBatch(
        values=values,
        keys=[None] * n,
        topic=[topic] * n,
        partition=np.zeros(n, np.int32),
        offset=np.arange(first_offset, first_offset + n, dtype=np.int64),
        timestamp_ms=np.full(n, timestamp_ms, np.int64),
        ingest_ms=ingest_ms,
    )


class MemorySource:
    """A source over message bytes; starts at ``start``, ends with the last one."""

    def __init__(
        self, values: Iterable[bytes], start: int = 0, clock: Clock = system_clock
    ) -> None:
        self._values = list(values)
        self._next = start
        self._clock = clock
        self.committed = start
        """Offset of the first message that is not committed."""
        self.closed = False

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next messages, None after the last."""
        if self._next >= len(self._values):
            return None
        values = self._values[self._next : self._next + max_messages]
        batch = message_batch(values, first_offset=self._next, ingest_ms=self._clock())
        self._next += len(values)
        return batch

    def keep_alive(self, settle: Callable[[], None]) -> None:
        """Do nothing: memory does not expire."""

    def commit(self, messages: MessageBatch, wait_s: float) -> bool:
        """Move the committed offset behind these messages."""
        self.committed = int(messages.offset.max(initial=self.committed - 1)) + 1
        return True

    def close(self) -> None:
        """Note that the source was closed."""
        self.closed = True
