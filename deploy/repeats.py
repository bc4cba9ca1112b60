"""Lines that come again and again: a few are logged, the others counted.

A broker that is away makes librdkafka log a line per connection and second, a sender of
rubbish a refusal per message. Lines are the same when they differ in numbers only.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["RepeatLimit"]

_MOST_KINDS: Final = 1000
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(slots=True)
class _Kind:
    since: float
    logged: int = 0
    left_out: int = 0


class RepeatLimit(logging.Filter):
    """Let ``most`` lines of a kind pass in each ``period_s`` seconds.

    The last of them says so, and the first of the next period says how many were left out.
    """

    def __init__(
        self, most: int = 5, period_s: float = 60, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._period_s = period_s
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, int, str], _Kind] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be logged."""
        # Handlers filter before they take a lock of theirs.
        with self._lock:
            return self._passes(record, self._clock())

    def _passes(self, record: logging.LogRecord, now: float) -> bool:
        kind = self._kind(record, now)
        left_out = 0
        if now - kind.since >= self._period_s:
            kind.since, kind.logged = now, 0
            left_out, kind.left_out = kind.left_out, 0
        if kind.logged == self._most:
            kind.left_out += 1
            return False
        kind.logged += 1
        if left_out:
            _note(record, f"{left_out:,} lines like this were left out")
        elif kind.logged == self._most:
            _note(record, f"lines like this are left out for up to {self._period_s:g} s")
        return True

    def _kind(self, record: logging.LogRecord, now: float) -> _Kind:
        key = (record.name, record.levelno, _NUMBERS.sub("#", _text(record)))
        kind = self._kinds.setdefault(key, _Kind(now))
        self._kinds.move_to_end(key)
        if len(self._kinds) > _MOST_KINDS:
            self._kinds.popitem(last=False)
        return kind


def _text(record: logging.LogRecord) -> str:
    # A line of structlog's is a dictionary until it is formatted.
    return str(record.msg["event"]) if isinstance(record.msg, dict) else record.getMessage()


def _note(record: logging.LogRecord, text: str) -> None:
    if isinstance(record.msg, dict):
        record.msg = record.msg | {"repeats": text}
    else:
        record.msg, record.args = f"{record.getMessage()} [{text}]", None
