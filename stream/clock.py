"""The time of day, as something that can be handed in."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Clock", "system_clock"]

Clock = Callable[[], int]
"""Returns the time now, Unix ms."""


def system_clock() -> int:
    """Return the time now, Unix ms."""
    return time.time_ns() // 1_000_000
