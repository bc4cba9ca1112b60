"""The time of day, as something that can be handed in, and the night that it is in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Clock", "night_start_ms", "system_clock"]

_DAY_MS: Final = 86_400_000
_NIGHT_BEGINS_MS: Final = 17 * 3_600_000
"""17:00 UTC: day at Palomar (9 or 10 a.m.) and on Cerro Pachon (1 or 2 p.m.)."""

Clock = Callable[[], int]
"""Returns the time now, Unix ms."""


def system_clock() -> int:
    """Return the time now, Unix ms."""
    return time.time_ns() // 1_000_000


def night_start_ms(now_ms: int) -> int:
    """Return when the night of a time began, both Unix ms: at the last 17:00 UTC.

    At that time it is day at both telescopes, so no night is cut in two.
    """
    return now_ms - (now_ms - _NIGHT_BEGINS_MS) % _DAY_MS
