"""Several processes at a replay, each with its own model session, on parts of its own.

A worker is given one part at a time, tells how far it is, and ends when its parent does:
its pipe is closed then.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from deploy.logs import configure_logs
from deploy.replay import Job, Progress, Runner
from deploy.secrets import hide, scrubbed
from deploy.settings import Settings
from models.errors import DeliveryError, TinyT2Error
from stream.checkpoint import Checkpoint, Segment
from stream.sources.parts import shown_path

__all__ = ["WorkerProcesses"]

_REPORT_S: Final = 0.2
_END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Reached:
    """So much of its part was read."""

    n_bytes: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """The worker has nothing to do."""


class _Worker:
    """A worker process, and what it is at."""

    def __init__(self, settings: Settings, folder: Path, every: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, settings, folder, every), daemon=True
        )
        with _interrupts_wait():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job | None) -> None:
        """Hand out a part, or the end."""
        self.job = job
        with suppress(BrokenPipeError):  # then the next message from it is its end
            self.pipe.send(job)

    def failure(self) -> DeliveryError:
        """Return the error that it ended too early."""
        self.process.join(_END_S)
        code = self.process.exitcode or 0
        how = f"of signal {-code}" if code < 0 else f"with code {code}"
        at = f" at {shown_path(self.job.part.paths[0])}" if self.job else ""
        return DeliveryError(
            f"worker process {self.process.pid} ended {how}{at}. What is done is kept: give the "
            "same command again to go on",
            code,
        )

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.pipe.close()
        self.process.join(_END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach; for this one it comes when they have started.

    In a terminal it reaches all processes, but only the parent takes care of it. What is
    blocked when a process is started stays blocked in it, from its first moment on.
    """
    came: list[int] = []
    resource_tracker.ensure_running()  # or it is started, and unblocks, just before the process
    handler = signal.signal(signal.SIGINT, lambda signum, frame: came.append(signum))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)


class WorkerProcesses:
    """Does the jobs of a replay in ``n`` processes."""

    def __init__(self, settings: Settings, folder: Path, every: int, n: int) -> None:
        self._settings = settings
        self._folder = folder
        self._every = every
        self._n = n

    def __call__(
        self, jobs: Sequence[Job], progress: Progress, done: Callable[[Segment], None]
    ) -> None:
        """Do jobs; `DeliveryError` when a worker ends too early, and what a worker raises."""
        left = list(reversed(jobs))
        workers: list[_Worker] = []
        try:
            for _ in range(min(self._n, len(jobs))):
                workers.append(_Worker(self._settings, self._folder, self._every))
            by_pipe = {worker.pipe: worker for worker in workers}
            while by_pipe:
                for pipe in wait(list(by_pipe)):
                    worker = by_pipe[pipe]  # type: ignore[index]
                    if not _hear(worker, left, progress, done):
                        del by_pipe[worker.pipe]
        finally:
            for worker in workers:
                worker.end()


def _hear(
    worker: _Worker, left: list[Job], progress: Progress, done: Callable[[Segment], None]
) -> bool:
    """Take one message of a worker; False when it has been told to end."""
    try:
        message = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        raise worker.failure() from None
    if isinstance(message, _Ready):
        worker.give(left.pop() if left else None)
        return worker.job is not None
    if isinstance(message, _Reached) and worker.job is not None:
        progress.reached(worker.job.number, message.n_bytes)
    elif isinstance(message, Segment):
        done(message)
    elif isinstance(message, TinyT2Error):
        raise message
    return True


def _work(pipe: Connection, settings: Settings, folder: Path, every: int) -> None:
    """Be a worker: do what comes through the pipe until it is told to end, or it closes."""
    hide(settings.secrets())
    configure_logs("warning", settings.log.format)
    try:
        _do_jobs(pipe, settings, folder, every)
    except TinyT2Error as error:
        with suppress(OSError):
            pipe.send(error)
    except (EOFError, ConnectionError):
        # The parent is gone. What is not done does not count, so there is nothing to tidy up.
        os._exit(1)
    except Exception:  # a defect: its traceback must not show a secret
        sys.stderr.write(scrubbed(traceback.format_exc()))
        sys.exit(1)


def _do_jobs(pipe: Connection, settings: Settings, folder: Path, every: int) -> None:
    checkpoint = Checkpoint.join(folder)
    runner = Runner(settings, checkpoint, every)
    reported = 0.0

    def reached(n_bytes: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            pipe.send(_Reached(n_bytes))

    pipe.send(_Ready())
    while (job := pipe.recv()) is not None:
        runner.run(job, reached, pipe.send)
        pipe.send(_Reached(job.part.n_bytes))
        pipe.send(_Ready())
    checkpoint.close()
