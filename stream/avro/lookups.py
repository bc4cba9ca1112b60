"""Look schemas up without holding up the messages that need none of them.

A thread of its own asks the registry. Messages whose schema is being looked up wait, and
those that a silent registry may know wait until it answers, but no longer than ``wait_s``
seconds after it fell silent; then they are refused as ``schema_unavailable``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Final

import structlog

from stream.avro.schemas import SchemaStore

__all__ = ["SchemaLookups"]

log = structlog.get_logger()

_MAX_ASKED: Final = 1024
_NEW_OUTAGE_S: Final = 180.0
"""A failure so long after the last one begins another outage."""


class SchemaLookups:
    """Which schema ids must be waited for. ``clock`` returns seconds."""

    def __init__(
        self, store: SchemaStore, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._wait_s = wait_s
        self._clock = clock
        self._asked: set[int] = set()
        self._queue: SimpleQueue[int] = SimpleQueue()
        self._changed = Condition()
        self._silent_since = self._last_failure = float("-inf")
        self._thread: Thread | None = None

    def waiting(self, ids: Iterable[int], patience_s: float = 0.0) -> set[int]:
        """Return those ids whose schema is not known yet but may be; their look-up has begun.

        Look-ups that end within ``patience_s`` seconds are waited for.
        """
        unsettled = {i for i in ids if not self._store.settled(i)}
        for schema_id in unsettled:
            self._ask(schema_id)
        if unsettled and patience_s > 0:
            with self._changed:
                self._changed.wait_for(lambda: not unsettled & self._asked, patience_s)
        return {i for i in ids if self._must_wait(i)}

    def _must_wait(self, schema_id: int) -> bool:
        if not self._store.settled(schema_id):
            return True
        in_time = self._clock() < self._silent_since + self._wait_s
        return in_time and self._store.unavailable(schema_id)

    def _ask(self, schema_id: int) -> None:
        with self._changed:
            if schema_id in self._asked or len(self._asked) >= _MAX_ASKED:
                return
            self._asked.add(schema_id)
        if self._thread is None:
            self._thread = Thread(target=self._work, name="schemas", daemon=True)
            self._thread.start()
        self._queue.put(schema_id)

    def _work(self) -> None:
        while True:
            schema_id = self._queue.get()
            try:
                self._store.look_up(schema_id)
            except Exception:  # the thread must outlive whatever a source does
                log.exception("schema look-up failed", schema_id=schema_id)
            now = self._clock()
            with self._changed:
                if self._store.unavailable(schema_id):
                    if now - self._last_failure > _NEW_OUTAGE_S:
                        self._silent_since = now
                    self._last_failure = now
                self._asked.discard(schema_id)
                self._changed.notify_all()
