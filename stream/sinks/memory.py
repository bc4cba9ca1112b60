"""Outcomes in memory: for tests and for use as a library."""

from __future__ import annotations

import pyarrow as pa

from stream.output.outcomes import Outcomes
from stream.output.schema import arrow_schema

__all__ = ["MemorySink"]


class MemorySink:
    """Keep the records of all outcomes, dead letters included."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self.closed = False

    def write(self, outcomes: Outcomes) -> None:
        """Keep the records of a batch."""
        self._tables += [outcomes.alert_table(), outcomes.dead_letter_table()]

    def flush(self, wait_s: float) -> bool:
        """Return True: memory is as safe as it gets."""
        return True

    def close(self) -> None:
        """Note that the sink was closed."""
        self.closed = True

    def table(self) -> pa.Table:
        """Return all records in the output schema."""
        return pa.concat_tables([arrow_schema().empty_table(), *self._tables])
