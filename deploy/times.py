"""Times as people write them on the command line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from models.errors import ConfigurationError

__all__ = ["parse_time", "shown_time"]

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO: Final = re.compile(r"(\d+)([smhd])")
_LAST_MS: Final = 253_402_300_799_999


def parse_time(text: str, now: Callable[[], float] = time.time) -> int:
    """Return a time as Unix ms: ISO 8601, UTC unless it says otherwise, ``now``, or ``90m`` ago.

    `ConfigurationError` for anything else.
    """
    text = text.strip()
    if text == "now":
        return int(now() * 1000)
    if ago := _AGO.fullmatch(text):
        return int((now() - int(ago[1]) * _UNITS_S[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is not a time: write 2026-11-23, 2026-11-23T04:30, "
            "2026-11-23T04:30:00+02:00, 'now', or how long ago: 90m, 12h, 3d",
            text,
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def shown_time(unix_ms: int) -> str:
    """Return a time as text, UTC."""
    if not 0 <= unix_ms <= _LAST_MS:
        return "unknown"
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
