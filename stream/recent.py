"""The latest alerts with their light curves, for whoever wants to look at them.

When more come than anybody can look at, a part is kept: the ring is filled anew no
faster than in half a minute, so that what somebody sees stays long enough to be opened,
and of each answer (class, or reason for none) about equally many are taken, by chance.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.alerts import AlertBatch, RefusedMessages
from stream.output.outcomes import Outcomes

__all__ = ["AlertFilter", "RecentAlerts"]

_REFILL_S: Final = 30.0
_AT_ONCE: Final = 4
"""A quarter of the ring may be filled by one batch."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are looked for."""

    class_name: str | None = None
    """The most probable class."""
    min_probability: float = 0.0
    """Of the most probable class; above 0 nothing else than classified alerts is found."""
    outcome: str | None = None
    """``classified``, ``not_classified``, or a reason for the latter."""


class RecentAlerts:
    """A bounded ring of alerts. One thread adds, others may look at the same time."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._blocks: deque[_Block] = deque()
        self._lock = threading.Lock()
        self._n = 0
        self._kept: Counter[str] = Counter()
        self._allowance = float(self._most_at_once)
        self._added_at = clock()
        self._rng = np.random.default_rng()

    def __len__(self) -> int:
        return self._n

    def add(self, outcomes: Outcomes) -> None:
        """Keep some alerts of a batch, copied, and let go of the oldest."""
        if not len(outcomes.alerts):
            return
        answer, names = _answers(outcomes)
        rows = self._choose(answer, names, self._room(len(answer)))
        if not len(rows):
            return
        block = _Block(_some(outcomes, rows), answer[rows], names)
        self._n += len(block)
        self._kept.update(block.answers)
        with self._lock:
            self._blocks.append(block)
            while self._n > self._capacity:
                oldest = self._blocks.popleft()
                self._n -= len(oldest)
                self._kept.subtract(oldest.answers)

    def find(self, wanted: AlertFilter, limit: int) -> list[dict[str, Any]]:
        """Return what is shown in a list of the newest alerts that fit, newest first."""
        found: list[dict[str, Any]] = []
        for block in self._newest_first():
            rows = np.flatnonzero(block.fits(wanted))[::-1]
            found += [block.row(i) for i in rows[: limit - len(found)].tolist()]
            if len(found) == limit:
                break
        return found

    def get(self, key: str) -> tuple[Outcomes, int] | None:
        """Return the outcomes that hold the alert of a key and its row, None if it is gone."""
        for block in self._newest_first():
            if key in block.keys:
                return block.outcomes, block.keys.index(key)
        return None

    @property
    def _most_at_once(self) -> int:
        return max(1, self._capacity // _AT_ONCE)

    def _newest_first(self) -> Iterator[_Block]:
        with self._lock:
            blocks = tuple(self._blocks)
        return reversed(blocks)

    def _room(self, n: int) -> int:
        """Return how many of n alerts may be kept now."""
        now = self._clock()
        earned = (now - self._added_at) * self._capacity / _REFILL_S
        self._allowance = min(self._most_at_once, self._allowance + earned)
        self._added_at = now
        room = min(n, int(self._allowance))
        self._allowance -= room
        return room

    def _choose(
        self, answer: npt.NDArray[np.int64], names: list[str], room: int
    ) -> npt.NDArray[np.int64]:
        """Return the rows to keep: all, or those whose answers are rarest among the kept."""
        if room >= len(answer) or room == 0:
            return np.arange(min(room, len(answer)))
        shuffled = self._rng.permutation(len(answer))
        order = shuffled[np.argsort(answer[shuffled], kind="stable")]
        place = np.arange(len(order)) - np.searchsorted(answer[order], answer[order])
        rank = np.array([self._kept[name] for name in names])[answer]
        rank[order] += place
        return np.sort(np.argpartition(rank, room - 1)[:room])


class _Block:
    """The alerts kept of one batch; never changed, so that it can be read without a lock."""

    def __init__(self, outcomes: Outcomes, answer: npt.NDArray[np.int64], names: list[str]) -> None:
        self.outcomes = outcomes
        self.answers = [names[i] for i in answer.tolist()]
        self._probability = np.zeros(len(answer), np.float32)
        self._probability[outcomes.classified] = outcomes.probabilities.max(axis=1, initial=0)
        messages, alerts = outcomes.messages, outcomes.alerts
        self.keys = [
            f"{topic}:{partition}:{offset}:{alert}"
            for topic, partition, offset, alert in zip(
                messages.topic,
                messages.partition.tolist(),
                messages.offset.tolist(),
                alerts.alert_id.tolist(),
                strict=True,
            )
        ]

    def __len__(self) -> int:
        return len(self.keys)

    def fits(self, wanted: AlertFilter) -> npt.NDArray[np.bool_]:
        """Tell which alerts are looked for, [k]."""
        classified = np.zeros(len(self), np.bool_)
        classified[self.outcomes.classified] = True
        fits = self._probability >= wanted.min_probability
        if wanted.min_probability > 0:
            fits &= classified
        if wanted.class_name is not None:
            fits &= classified & self._answered(wanted.class_name)
        match wanted.outcome:
            case None:
                return fits
            case "classified":
                return fits & classified
            case "not_classified":
                return fits & ~classified
            case reason:
                return fits & ~classified & self._answered(reason)

    def row(self, i: int) -> dict[str, Any]:
        """Return what a list shows of an alert."""
        alerts, is_class = self.outcomes.alerts, bool(self._probability[i] > 0)
        return {
            "key": self.keys[i],
            "publish_ms": self.outcomes.publish_ms,
            "survey": alerts.survey[i].as_py(),
            "object_id": alerts.object_id[i].as_py(),
            "n_observations": int(self.outcomes.n_observations[i]),
            "class": self.answers[i] if is_class else None,
            "probability": round(float(self._probability[i]), 4) if is_class else None,
            "reason": None if is_class else self.answers[i],
        }

    def _answered(self, name: str) -> npt.NDArray[np.bool_]:
        return np.array([answer == name for answer in self.answers], np.bool_)


def _answers(outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the answer of each alert as a row of names, [n], and the names: reasons, classes."""
    reasons = outcomes.reason.dictionary.to_pylist()
    classes = [c.name for c in outcomes.bundle.manifest.classes]
    answer = outcomes.reason.indices.fill_null(0).to_numpy().astype(np.int64)
    answer[outcomes.classified] = len(reasons) + outcomes.probabilities.argmax(axis=1)
    return answer, reasons + classes


def _some(outcomes: Outcomes, rows: npt.NDArray[np.int64]) -> Outcomes:
    """Return the outcomes of some alerts as a batch of its own, without the bytes of messages."""
    alerts, k = outcomes.alerts, len(rows)
    messages = outcomes.messages.take(alerts.message[rows].tolist())
    among = np.isin(outcomes.classified, rows, assume_unique=True)
    return replace(
        outcomes,
        messages=replace(messages, values=[b""] * k, keys=[None] * k, headers=()),
        alerts=AlertBatch(
            curves=alerts.curves.take(rows),
            alert_id=alerts.alert_id[rows],
            source_id=alerts.source_id[rows],
            object_id=alerts.object_id.take(pa.array(rows)),
            survey=alerts.survey.take(pa.array(rows)),
            trigger_mjd=alerts.trigger_mjd[rows],
            observation_ms=alerts.observation_ms[rows],
            solar_system=alerts.solar_system[rows],
            message=np.arange(k, dtype=np.int32),
            refused=RefusedMessages(),
        ),
        n_observations=outcomes.n_observations[rows],
        reason=outcomes.reason.take(pa.array(rows)),
        classified=np.searchsorted(rows, outcomes.classified[among]),
        probabilities=outcomes.probabilities[among],
        ood_score=outcomes.ood_score[rows],
        duplicate=None if outcomes.duplicate is None else outcomes.duplicate[rows],
    )
