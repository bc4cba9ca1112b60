"""Watch other processes, and choose the processor that they run on. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import ConfigurationError

__all__ = ["Footprint", "cores", "cpu_seconds", "footprint", "pin", "pinned", "tree_seconds"]

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process since its start, user and system."""
    # Behind the name, which may hold anything but ends with the last bracket: man proc_pid_stat.
    values = _read(pid, "stat").rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / _TICKS_PER_S


def tree_seconds(pid: int) -> float:
    """Return the processor time of a process and of all that it started, and they in turn.

    Those that have ended count once their parent has waited for them.
    """
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            values = _read(int(folder.name), "stat").rpartition(")")[2].split()
        except ConfigurationError:  # it has just ended
            continue
        parents[int(folder.name)] = int(values[1])
        seconds[int(folder.name)] = sum(map(int, values[11:15])) / _TICKS_PER_S
    tree = {pid}
    while grown := {p for p, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return sum(seconds[p] for p in tree)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    rss_mb: float
    """Resident memory, 10^6 bytes."""
    peak_mb: float
    """The most resident memory so far."""
    threads: int
    descriptors: int
    """Open files and sockets."""


def footprint(pid: int) -> Footprint:
    """Return what a process holds now."""
    lines = _read(pid, "status").splitlines()
    values = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    return Footprint(
        rss_mb=int(values["VmRSS"][0]) * 1024 / 1e6,
        peak_mb=int(values["VmHWM"][0]) * 1024 / 1e6,
        threads=int(values["Threads"][0]),
        descriptors=len(list((_PROC / str(pid) / "fd").iterdir())),
    )


def cores() -> tuple[int, int]:
    """Return two processors that this process may use; twice the same if it has but one."""
    if not hasattr(os, "sched_getaffinity"):
        raise ConfigurationError("this benchmark pins processes to processors: it needs Linux")
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def pin(pid: int, core: int) -> None:
    """Let a process that was just started, and the threads that it will have, use one processor."""
    os.sched_setaffinity(pid, {core})


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run this thread, and what it starts meanwhile, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except OSError as error:
        raise ConfigurationError(
            f"cannot watch process {pid}: {error}; this benchmark needs Linux", pid
        ) from error
