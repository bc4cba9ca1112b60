"""Make results of times that were taken by turns (`models.timing`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.timing import Seconds

__all__ = ["Result", "rate", "single", "time_per_alert"]

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
