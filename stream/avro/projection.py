"""Which fields a survey reads of its alerts, and where their values stand once decoded.

Alerts are decoded into tables of columns: one row per alert, and for each array
of records that is read (a history) a table with one row per entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from stream.alerts import RefusedReason
from stream.refusal import Refusal

__all__ = [
    "ALERT",
    "AlertSchema",
    "Kind",
    "Layout",
    "RecordFields",
    "Slot",
    "Table",
    "check_fields",
    "lay_out",
]

ALERT: Final = ""
"""Path of the alert itself, and of the table with one row per alert."""


class AlertSchema(Protocol):
    """The structure of alerts, whether Avro or Arrow holds them."""

    @property
    def name(self) -> str:
        """Return the name that texts call it."""

    def fields(self, path: str = "") -> frozenset[str] | None:
        """Return the field names of the alert, or of the record in one of its fields.

        Arrays around that record are looked through; None when there is none.
        """


class Kind(IntEnum):
    """What a field is read as. Avro values of other types count as unusable."""

    NUMBER = 0
    """int, long, float or double, as float64."""
    INTEGER = 1
    """int or long, as int64."""
    SYMBOL = 2
    """A string or enum of at most 7 bytes; booleans read as ``t`` and ``f``."""
    TEXT = 3
    """A string."""


@dataclass(frozen=True, slots=True)
class RecordFields:
    """Fields that a survey reads out of one record of its alerts."""

    path: str
    """Field of the alert that holds the record, or an array of them; ``""`` is the alert."""
    required: Mapping[str, Kind] = field(default_factory=dict)
    """Fields that every schema must have."""
    optional: Mapping[str, Kind] = field(default_factory=dict)
    repeated: bool = False
    """The field holds an array of records."""
    may_be_absent: bool = False
    """Older schemas lack the record as a whole."""

    @property
    def fields(self) -> dict[str, Kind]:
        """Return all fields that are read."""
        return {**self.required, **self.optional}

    def name(self, field_name: str) -> str:
        """Return a field as texts show it, with the path that leads to it."""
        return f"{self.path}.{field_name}" if self.path else field_name


class Slot(NamedTuple):
    """Where the values of a field stand."""

    number: int
    """Row of the matrix of cells; unique over all surveys that are decoded together."""
    kind: Kind


class Table(NamedTuple):
    """Columns that grow together, one row per alert or per entry of a history."""

    number: int
    """Unique over all surveys that are decoded together."""
    first_slot: int
    slots: dict[str, Slot]
    """Path of a field -> its slot; ``candidate.jd`` in the table of alerts, ``jd`` in others."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of one survey."""

    uses: tuple[RecordFields, ...]
    tables: dict[str, Table]
    """``""`` -> alerts, path of an array -> its entries."""

    @property
    def n_slots(self) -> int:
        """Return the number of columns."""
        return sum(len(table.slots) for table in self.tables.values())


def lay_out(uses: Sequence[RecordFields], first_table: int = 0, first_slot: int = 0) -> Layout:
    """Give each field that is read a slot; tables and slots are numbered from the given ones."""
    of_alert = {r.name(f): k for r in uses if not r.repeated for f, k in r.fields.items()}
    columns = {ALERT: of_alert, **{r.path: r.fields for r in uses if r.repeated}}
    tables: dict[str, Table] = {}
    for number, (path, kinds) in enumerate(columns.items(), first_table):
        slots = {name: Slot(first_slot + i, kind) for i, (name, kind) in enumerate(kinds.items())}
        tables[path] = Table(number, first_slot, slots)
        first_slot += len(slots)
    return Layout(tuple(uses), tables)


def check_fields(uses: Sequence[RecordFields], schema: AlertSchema, survey: str) -> None:
    """Check that a schema has the fields a survey needs; `Refusal` names those it lacks."""
    missing: list[str] = []
    for record in uses:
        present = schema.fields(record.path)
        if present is None and record.may_be_absent:
            continue
        missing += [record.name(x) for x in record.required if x not in (present or ())]
    if missing:
        raise Refusal(
            RefusedReason.INVALID_FIELD,
            f"schema {schema.name} lacks {', '.join(missing)}, which {survey} alerts need",
        )
