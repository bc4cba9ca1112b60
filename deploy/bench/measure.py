"""Take times by turns and make results of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

__all__ = ["Clock", "Result", "Seconds", "Task", "interleave", "rate", "single", "time_per_alert"]

Clock = Callable[[], float]
Seconds = npt.NDArray[np.float64]
"""[rounds] seconds per alert."""

_UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Result:
    """One figure, beside a peer's where there is one; see `deploy.bench` for what a ratio is."""

    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    n: int
    """How many measurements are behind the figure."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to be timed, and how many alerts one call of it handles."""

    run: Callable[[], object]
    alerts: int


def interleave(
    tasks: Mapping[str, Task],
    rounds: int,
    progress: Progress,
    label: str,
    clock: Clock = time.process_time,
) -> dict[str, Seconds]:
    """Time all tasks in every round, after a first round that does not count.

    By default with the CPU time of this process, all its threads together: what
    else runs on the machine does not count.
    """
    names = list(tasks)
    seconds = {name: np.empty(rounds) for name in names}
    with _clean_heap():
        for i in progress.track(range(-1, rounds), description=label):
            # Nobody always runs in the wake of the same other.
            first = i % len(names)
            for name in names[first:] + names[:first]:
                taken = _time(tasks[name], clock)
                if i >= 0:
                    seconds[name][i] = taken
    return seconds


@contextmanager
def _clean_heap() -> Iterator[None]:
    """Hide from the garbage collector what is there already: nobody pays for looking through it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _time(task: Task, clock: Clock) -> float:
    # Nobody pays for another's garbage.
    gc.collect()
    start = clock()
    task.run()
    return (clock() - start) / task.alerts


def time_per_alert(
    name: str,
    ours: Seconds,
    peer: str | None = None,
    theirs: Seconds | None = None,
    unit: str = "us",
) -> Result:
    """Return a time with, as ratio, how many times faster than the peer it is."""
    value = float(np.median(ours)) * _UNITS[unit]
    if peer is None or theirs is None:
        return Result(name, value, unit, None, None, None, len(ours))
    peer_value = float(np.median(theirs)) * _UNITS[unit]
    return Result(name, value, unit, peer, peer_value, float(np.median(theirs / ours)), len(ours))


def rate(
    name: str,
    ours: Seconds,
    peer: str | None = None,
    theirs: Seconds | None = None,
    unit: str = "alerts/s",
) -> Result:
    """Return a rate with, as ratio, how many times the peer's it is."""
    value = float(1 / np.median(ours))
    if peer is None or theirs is None:
        return Result(name, value, unit, None, None, None, len(ours))
    peer_value = float(1 / np.median(theirs))
    return Result(name, value, unit, peer, peer_value, float(np.median(theirs / ours)), len(ours))


def single(name: str, value: float, unit: str, n: int) -> Result:
    """Return a figure that has no peer."""
    return Result(name, value, unit, None, None, None, n)
