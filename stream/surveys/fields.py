"""Typed access to the fields of decoded alerts, naming field and value when it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from stream.alerts import RefusedReason
from stream.avro.writer import Record, WriterSchema
from stream.refusal import Refusal, shown

__all__ = [
    "MAX_ABS_MJD",
    "RecordFields",
    "check_fields",
    "entries",
    "finite",
    "integer",
    "invalid",
    "number",
    "subrecord",
    "text",
]

MAX_ABS_MJD: Final = 1e10
"""Times beyond, in days, do not fit the milliseconds of an int64."""

_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True)
class RecordFields:
    """Fields that a survey reads out of one record of its alerts."""

    path: str
    """Field of the alert that holds the record, or an array of them; ``""`` is the alert."""
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    may_be_absent: bool = False
    """Older schemas lack the record as a whole."""


def check_fields(uses: Sequence[RecordFields], schema: WriterSchema, survey: str) -> None:
    """Check that a schema has the fields a survey needs; `Refusal` names those it lacks."""
    missing: list[str] = []
    for record in uses:
        present = schema.fields(record.path)
        if present is None and record.may_be_absent:
            continue
        prefix = f"{record.path}." if record.path else ""
        missing += [f"{prefix}{x}" for x in record.required if x not in (present or ())]
    if missing:
        raise Refusal(
            RefusedReason.INVALID_FIELD,
            f"schema {schema.name} lacks {', '.join(missing)}, which {survey} alerts need",
        )


def subrecord(record: Record, name: str) -> Record:
    """Return a record inside a record."""
    value = record.get(name)
    if not isinstance(value, dict):
        invalid(name, value, "a record")
    return value


def entries(record: Record, name: str) -> Iterator[Record]:
    """Yield the records of an array; null and absent are empty, null entries left out."""
    value = record.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        invalid(name, value, "an array")
    for entry in value:
        if isinstance(entry, dict):
            yield entry
        elif entry is not None:
            invalid(name, entry, "an array of records")


def finite(value: object) -> float | None:
    """Return a number as it is, None for null, NaN, infinities and what is not a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return None


def number(record: Record, name: str, low: float, high: float) -> float:
    """Return a number between ``low`` and ``high``."""
    value = finite(record.get(name))
    if value is None or not low <= value <= high:
        invalid(name, record.get(name), f"a number between {low:g} and {high:g}")
    return value


def integer(record: Record, name: str) -> int:
    """Return an integer of 64 bits."""
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        invalid(name, value, "an integer")
    return value


def text(record: Record, name: str) -> str:
    """Return a text that is not empty, and of sensible length."""
    value = record.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        invalid(name, value, f"a text of 1 to {_MAX_TEXT} characters")
    return value


def invalid(name: str, value: object, expected: str) -> NoReturn:
    """Raise the `Refusal` of a field."""
    raise Refusal(
        RefusedReason.INVALID_FIELD, f"field {name} is {shown(value)}, must be {expected}"
    )
