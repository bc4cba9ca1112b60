"""Nothing lost: every message and every alert has exactly one outcome.

``messages consumed = decoded + dead-lettered + released + in flight`` and
``alerts decoded = classified + not classified``, checked after every batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa

from models.errors import AccountingError
from stream.alerts import MessageBatch
from stream.output.outcomes import Outcomes
from stream.tally import tally

__all__ = ["Accounting"]


@dataclass(slots=True)
class Accounting:
    """Counts of messages and alerts since the start."""

    messages_consumed: int = 0
    messages_decoded: int = 0
    messages_released: int = 0
    """Given back unpublished, to be read again: their transaction was aborted."""
    messages_in_flight: int = 0
    alerts_decoded: int = 0
    alerts_classified: int = 0
    not_classified: Counter[str] = field(default_factory=Counter)
    """Alerts by reason."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """Messages by reason."""
    classes: Counter[str] = field(default_factory=Counter)
    """Classified alerts by their most probable class."""

    def as_log(self) -> dict[str, Any]:
        """Return the counts as plain values for a log line."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_log(cls, entry: Mapping[str, Any]) -> Accounting:
        """Return the counts of a log line that `as_log` made."""
        accounting = cls()
        for name in (f.name for f in fields(cls)):
            value = entry[name]
            setattr(accounting, name, value if isinstance(value, int) else Counter(value))
        return accounting

    def consumed(self, messages: MessageBatch) -> None:
        """Record that messages were read and are in flight."""
        self.messages_consumed += len(messages)
        self.messages_in_flight += len(messages)

    def delivered(self, outcomes: Outcomes) -> None:
        """Record that all outcomes of a batch were delivered; check the sums."""
        alerts = outcomes.alerts
        decoded = int(np.count_nonzero(np.bincount(alerts.message)))
        self.messages_in_flight -= len(outcomes.messages)
        self.messages_decoded += decoded
        self.alerts_decoded += len(alerts)
        self.alerts_classified += len(outcomes.classified)
        self.not_classified.update(_counts(outcomes.reason))
        self.dead_letters.update(str(r) for r in alerts.refused.reason)
        self.classes.update(_counts(outcomes.predicted))
        self.check()

    def released(self, messages: MessageBatch) -> None:
        """Record that a batch was given back unpublished; check the sums."""
        self.messages_in_flight -= len(messages)
        self.messages_released += len(messages)
        self.check()

    def add(self, other: Accounting) -> None:
        """Add the counts of other messages."""
        for name in (f.name for f in fields(self)):
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(others)
            else:
                setattr(self, name, mine + others)

    def copy(self) -> Accounting:
        """Return the same counts."""
        return self.from_log(self.as_log())

    def check(self) -> None:
        """Raise `AccountingError` when records in and outcomes out do not add up."""
        done = self.messages_decoded + self.dead_letters.total() + self.messages_released
        messages = done + self.messages_in_flight
        alerts = self.alerts_classified + self.not_classified.total()
        if messages != self.messages_consumed or alerts != self.alerts_decoded:
            raise AccountingError(
                f"{self.messages_consumed} messages were consumed but {messages} are decoded, "
                f"dead-lettered, released or in flight; {self.alerts_decoded} alerts were decoded "
                f"but {alerts} have an outcome. Please report this with the log",
                self,
            )


def _counts(column: pa.DictionaryArray) -> dict[str, int]:
    """Return how often each value occurs, nulls left out."""
    return {value: count for (value,), count in tally(column).items() if value}


def _plain(value: int | Counter[str]) -> int | dict[str, int]:
    return value if isinstance(value, int) else dict(value)
