"""Calls that block for as long as a broker likes, waited for in slices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

__all__ = ["BlockingCalls"]

_Call: TypeAlias = Callable[[], object]


class BlockingCalls:
    """Make calls one at a time on a thread of their own, so that nobody is held up by them.

    The thread does not keep a process alive: a call that never returns is left behind.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[_Call, Future[object]] | None] = SimpleQueue()
        self._running: tuple[str, Future[object]] | None = None
        Thread(target=self._work, name=name, daemon=True).start()

    def wait(self, what: str, call: _Call, wait_s: float) -> bool:
        """Wait at most ``wait_s`` seconds; True when the call has returned, else ask again.

        While a call for the same ``what`` is running, that one is waited for and no other made;
        a call for something else first runs to its end. Raises what the call raised.
        """
        if self._running is not None and self._running[0] != what:
            if not _ended(self._running[1], wait_s):
                return False
            self._running = None
        if self._running is None:
            self._running = what, Future()
            self._calls.put((call, self._running[1]))
        future = self._running[1]
        if not _ended(future, wait_s):
            return False
        self._running = None
        future.result()
        return True

    def close(self) -> None:
        """Let the thread end after the call that is running."""
        self._calls.put(None)

    def _work(self) -> None:
        while (todo := self._calls.get()) is not None:
            call, future = todo
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)


def _ended(future: Future[object], wait_s: float) -> bool:
    try:
        future.exception(wait_s)
    except TimeoutError:
        return False
    return True
