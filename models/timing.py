"""Take the times of several tasks by turns: what disturbs one disturbs the others too."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

__all__ = ["Clock", "Seconds", "Task", "interleave"]

Clock = Callable[[], float]
Seconds = npt.NDArray[np.float64]
"""[rounds] seconds per alert."""


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
