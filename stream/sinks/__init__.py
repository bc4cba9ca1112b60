"""Where outcomes go."""

from __future__ import annotations

from typing import Protocol

from stream.output.outcomes import Outcomes

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes outcomes and says when they are safe."""

    def write(self, outcomes: Outcomes) -> None:
        """Take the outcomes of a batch; raise `DeliveryError` when that is impossible."""
        ...

    def flush(self, wait_s: float) -> bool:
        """Wait at most ``wait_s`` seconds; True when all that was written is safe.

        Raises `DeliveryError` when something can never be delivered.
        """
        ...

    def close(self) -> None:
        """Finish the output. Called only after everything was flushed."""
        ...
