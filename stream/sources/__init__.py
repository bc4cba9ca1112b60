"""Where messages come from."""

from __future__ import annotations

from typing import Protocol

from stream.alerts import MessageBatch

__all__ = ["Source"]


class Source(Protocol):
    """Hands out messages in order and remembers which of them are done."""

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return up to ``max_messages`` after at most ``wait_s`` seconds.

        The batch is empty when nothing came, None when nothing will come any more.
        """
        ...

    def keep_alive(self) -> None:
        """Stay a live member of whatever this reads from, without taking messages."""
        ...

    def commit(self, messages: MessageBatch) -> None:
        """Remember that all outcomes of these messages were delivered."""
        ...

    def close(self) -> None:
        """Make what was committed durable and let go."""
        ...
