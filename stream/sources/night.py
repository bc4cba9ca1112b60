"""Topics with the date of a night in their name, of a bounded window of nights.

``ztf_{night}_programid1`` stands for the topics of the nights in the window, which moves
on at midnight UTC. Those that do not exist yet, or no longer, are waited for without any
harm to the others: the names become one pattern, which only matches what is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["NIGHT", "nights_between", "topics_of", "window_of"]

NIGHT: Final = "{night}"
"""Stands for the date of a night, YYYYMMDD."""

_DAY_MS: Final = 86_400_000
_MAX_NIGHTS: Final = 400


def window_of(now_ms: int, n_nights: int) -> list[str]:
    """Return the dates of tonight, of the nights before, ``n_nights`` in all, and of the next.

    Times are Unix ms, dates those of UTC. The next night is there in time for midnight.
    """
    return nights_between(now_ms - (n_nights - 1) * _DAY_MS, now_ms + _DAY_MS)


def nights_between(start_ms: int, end_ms: int) -> list[str]:
    """Return the UTC dates from one time to another, the newest 400 at most."""
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in (start_ms, end_ms))
    n = min((last - first).days + 1, _MAX_NIGHTS)
    return [f"{last - timedelta(days=i):%Y%m%d}" for i in range(n)][::-1]


def topics_of(topics: Sequence[str], nights: Sequence[str]) -> list[str]:
    """Return topics and patterns in which the date is one of ``nights``."""
    return [_pattern(topic, nights) if NIGHT in topic else topic for topic in topics]


def _pattern(topic: str, nights: Sequence[str]) -> str:
    dates = f"({'|'.join(nights)})"
    if topic.startswith("^"):
        return topic.replace(NIGHT, dates)
    return f"^{dates.join(re.escape(part) for part in topic.split(NIGHT))}$"
