"""``tinyt2 serve`` as a process of its own, followed through its log.

The demonstration and the benchmarks run the service exactly as it runs in production.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self, TypeVar

from deploy.configuration import PREFIX
from models.errors import TinyT2Error
from stream.accounting import Accounting

__all__ = ["LoggedProcess", "Serve", "ServeTopics", "children_end_with_us"]

_START_S: Final = 60.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.02
_TAIL_CHARACTERS: Final = 2000

Found = TypeVar("Found")


class LoggedProcess:
    """A process that logs JSON lines to a file; it is killed when a ``with`` block ends."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = " ".join(command[-2:])
        self._log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process has not ended."""
        return self.process.poll() is None

    def event(self, name: str) -> dict[str, Any] | None:
        """Return the first log line of an event, None when there is none yet."""
        for line in self._log.read_text().splitlines():
            if f'"event": "{name}"' in line:
                entry: dict[str, Any] = json.loads(line)
                return entry
        return None

    def wait_for(
        self, what: str, found: Callable[[], Found | None], seconds: float = _START_S
    ) -> Found:
        """Ask until something is found; `TinyT2Error` when time is up or the process has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            alive = self.running
            if (answer := found()) is not None:
                return answer
            if not alive:
                raise TinyT2Error(f"{self.name} ended: no {what}; its log:\n{self.tail()}")
            time.sleep(_POLL_S)
        raise TinyT2Error(f"{self.name}: no {what} in {seconds:g} s; its log:\n{self.tail()}")

    def wait_for_event(self, name: str, seconds: float = _START_S) -> dict[str, Any]:
        """Wait for a log line and return it; `TinyT2Error` when it does not come."""
        return self.wait_for(f"log line {name!r}", lambda: self.event(name), seconds)

    def tail(self) -> str:
        """Return the end of the log."""
        return self._log.read_text()[-_TAIL_CHARACTERS:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class ServeTopics:
    """Where a service reads and writes."""

    alerts: str
    classifications: str
    dead_letters: str


class Serve(LoggedProcess):
    """A running ``tinyt2 serve``.

    ``settings`` are further environment variables, ``TINYT2__SECTION__KEY`` and others.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        topics: ServeTopics,
        log: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        # -P: a module in the working directory must not take the place of ours.
        command = [sys.executable, "-P", "-m", "deploy.cli", "serve"]
        # The user's own settings are for the user's own service.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        environment = {
            **inherited,
            "TINYT2__KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "TINYT2__KAFKA__GROUP_ID": group,
            "TINYT2__KAFKA__TOPICS": json.dumps([topics.alerts]),
            # The embedded broker lets a group wait for its members' session timeout.
            "TINYT2__KAFKA__CONSUMER__SESSION_TIMEOUT_MS": "6000",
            "TINYT2__KAFKA__CONSUMER__HEARTBEAT_INTERVAL_MS": "500",
            "TINYT2__OUTPUT__TOPIC": topics.classifications,
            "TINYT2__OUTPUT__DEAD_LETTER_TOPIC": topics.dead_letters,
            "TINYT2__HTTP__PORT": "0",
            "TINYT2__LOG__FORMAT": "json",
            **(settings or {}),
        }
        super().__init__(command, log, environment)
        self.name = "'tinyt2 serve'"

    def wait_until_ready(self) -> str:
        """Return its URL as soon as ``/health/ready`` says yes."""
        return self.wait_for("readiness", self._ready_url)

    def stop(self) -> Accounting:
        """End the service as an operator would; return the accounts that it logs."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            raise TinyT2Error(f"{self.name} does not stop; its log:\n{self.tail()}") from None
        entry = self.event("stopped")
        if entry is None:
            raise TinyT2Error(f"{self.name} did not stop well; its log:\n{self.tail()}")
        return Accounting.from_log(entry)

    def _ready_url(self) -> str | None:
        started = self.event("started")
        if started is None:
            return None
        url: str = started["http"]
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as response:
                return url if response.status == 200 else None
        except (urllib.error.URLError, OSError):
            return None


@contextmanager
def children_end_with_us() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack meanwhile, so that no process stays behind."""

    def leave(signum: int, frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
