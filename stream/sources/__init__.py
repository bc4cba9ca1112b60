"""Where messages come from."""

from __future__ import annotations

from collections.abc import Callable
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

    def keep_alive(self, settle: Callable[[], None]) -> None:
        """Stay a live member of whatever this reads from, without taking messages.

        ``settle`` is called before messages in flight are given to another reader.
        """
        ...

    def commit(self, messages: MessageBatch, wait_s: float) -> bool:
        """Remember that all outcomes of these messages were delivered.

        Waits at most ``wait_s`` seconds; True when that is durable or another reader has
        them, else ask again. Raises `DeliveryError` when it can never be.
        """
        ...

    def close(self) -> None:
        """Let go of what is read."""
        ...
