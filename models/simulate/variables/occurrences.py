"""Events that recur in sources: flares, outbursts.

Notation: n sources, m evaluations, E events in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Occurrences", "recurring"]

_STRIDE: Final = 1e6  # days between the keys of neighbouring sources


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The events of n sources, those of one source together and in order of time."""

    source: npt.NDArray[np.int64]
    """[E]"""
    days: npt.NDArray[np.float64]
    """[E] since the source's reference time."""

    def latest(
        self, source: npt.NDArray[np.int64], days: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Return the last event of each source at or before the days; -1 for none, [m]."""
        key = self.source * _STRIDE + self.days
        event = np.searchsorted(key, source * _STRIDE + days, side="right") - 1
        mine = (event >= 0) & (self.source[np.maximum(event, 0)] == source)
        return np.where(mine, event, -1)


def recurring(
    rng: np.random.Generator,
    interval_days: npt.NDArray[np.float64],
    irregularity: float,
    begin_days: float,
    end_days: float,
) -> Occurrences:
    """Return events every ``interval_days`` [n] from begin to end, one of them at day 0.

    ``irregularity``: standard deviation of the intervals, relative.
    """
    n = len(interval_days)
    before = np.ceil(-begin_days / interval_days).astype(np.int64)
    count = before + np.ceil(end_days / interval_days).astype(np.int64) + 1
    source = np.repeat(np.arange(n), count)
    number = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count) - before[source]
    wobble = np.clip(rng.standard_normal(len(source)) * irregularity, -0.4, 0.4)
    wobble[number == 0] = 0.0
    return Occurrences(source, (number + wobble) * interval_days[source])
