"""Tables of decoded alerts: columns that kernels fill and surveys read.

The tables are a workspace of fixed size. What stands in them is read by the
survey, copied, and cleared before more alerts are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.alerts import RefusedReason
from stream.avro.cells import ABSENT, SYMBOL_BYTES, TEXT_BYTES, TOO_LONG, UNUSABLE, VALUE, Cells
from stream.avro.program import pack_symbol
from stream.avro.projection import ALERT, Kind, Layout, RecordFields, Slot, Table
from stream.avro.writer import Record
from stream.refusal import Refusal, shown

__all__ = ["CAPACITY", "Full", "Rows", "Tables", "history_too_long", "wrong_type"]

CAPACITY: Final = 20_000
"""Rows of a table: alerts decoded at once, and entries that one alert's history may have.

The longest real history, in LSST's deep fields, has about 1,200 entries. No power of two:
the columns of a row would share one set of the processor's cache.
"""

_TEXT_CAPACITY: Final = 1 << 20


class Full(Exception):
    """The tables have no room for another row: clear them."""


class Tables:
    """The columns of all surveys that are decoded together."""

    def __init__(self, layouts: Sequence[Layout], capacity: int = CAPACITY) -> None:
        n_slots = sum(layout.n_slots for layout in layouts)
        n_tables = sum(len(layout.tables) for layout in layouts)
        values = np.zeros((n_slots, capacity), np.int64)
        self.cells: Final = Cells(
            values=values,
            numbers=values.view(np.float64),
            state=np.zeros((n_slots, capacity), np.uint8),
            parent=np.zeros((n_tables, capacity), np.int32),
            n_rows=np.zeros(n_tables, np.int64),
            text=np.zeros(_TEXT_CAPACITY, np.uint8),
            n_text=np.zeros(1, np.int64),
        )
        self.capacity: Final = capacity

    def __len__(self) -> int:
        return int(self.cells.n_rows.sum())

    def clear(self) -> None:
        """Forget all rows."""
        self.cells.n_rows[:] = 0
        self.cells.n_text[:] = 0

    def rows(self, table: Table) -> Rows:
        """Return the rows of a table, to be used before `clear`."""
        return Rows(table, self.cells)

    def append(self, record: Record, layout: Layout, message: int) -> None:
        """Append an alert that fastavro has read, as the kernel does for its bytes.

        Raises `Refusal` for a part of a type that cannot be used, and `Full`; then nothing of
        the alert stays.
        """
        n_rows, n_text = self.cells.n_rows.copy(), self.cells.n_text.copy()
        try:
            alert = self._begin(layout.tables[ALERT], message)
            for used in layout.uses:
                self._append_part(record, used, layout, alert)
        except (Refusal, Full):
            self.cells.n_rows[:] = n_rows
            self.cells.n_text[:] = n_text
            raise

    def _append_part(self, record: Record, used: RecordFields, layout: Layout, alert: int) -> None:
        part = record if used.path == ALERT else record.get(used.path)
        if part is None:
            return
        if used.repeated:
            self._append_history(part, used, layout.tables[used.path], alert)
        elif isinstance(part, dict):
            slots = layout.tables[ALERT].slots
            for name in used.fields:
                self._set(slots[used.name(name)], alert, part.get(name))
        elif not used.may_be_absent:
            raise wrong_type(used.path, "a record")

    def _append_history(self, part: object, used: RecordFields, table: Table, alert: int) -> None:
        if not isinstance(part, list):
            raise wrong_type(used.path, "an array")
        for entry in part:
            if isinstance(entry, dict):
                row = self._begin(table, alert)
                for name, slot in table.slots.items():
                    self._set(slot, row, entry.get(name))
            elif entry is not None:
                raise wrong_type(used.path, "an array of records")

    def _begin(self, table: Table, parent: int) -> int:
        row = int(self.cells.n_rows[table.number])
        if row >= self.capacity:
            raise Full
        self.cells.n_rows[table.number] = row + 1
        self.cells.parent[table.number, row] = parent
        self.cells.state[table.first_slot : table.first_slot + len(table.slots), row] = ABSENT
        return row

    def _set(self, slot: Slot, row: int, value: Any) -> None:
        cells, cell = self.cells, (slot.number, row)
        if value is None:
            return
        cells.state[cell] = VALUE
        if slot.kind is Kind.NUMBER and _is_number(value):
            cells.numbers[cell] = value
        elif slot.kind is Kind.INTEGER and isinstance(value, int) and not isinstance(value, bool):
            cells.values[cell] = value
        elif slot.kind is Kind.SYMBOL and isinstance(value, str | bool):
            packed = pack_symbol(value if isinstance(value, str) else "t" if value else "f")
            cells.values[cell] = packed or 0
            cells.state[cell] = TOO_LONG if packed is None else VALUE
        elif slot.kind is Kind.TEXT and isinstance(value, str):
            self._set_text(cell, value.encode())
        else:
            cells.state[cell] = UNUSABLE

    def _set_text(self, cell: tuple[int, int], text: bytes) -> None:
        if len(text) > TEXT_BYTES:
            self.cells.state[cell] = TOO_LONG
            return
        offset = int(self.cells.n_text[0])
        if offset + len(text) > len(self.cells.text):
            raise Full
        self.cells.text[offset : offset + len(text)] = np.frombuffer(text, np.uint8)
        self.cells.n_text[0] += len(text)
        self.cells.values[cell] = offset << 32 | len(text)


class Rows:
    """The n rows of a table, one column at a time.

    Each reading method returns a column and notes the rows where it cannot be used, unless
    ``where`` [n] is False there: see `usable` and `problem`. Values there are arbitrary.
    """

    def __init__(self, table: Table, cells: Cells) -> None:
        self._table = table
        self._cells = cells
        self._n = int(cells.n_rows[table.number])
        self._checks: list[tuple[str, npt.NDArray[np.bool_], str]] = []
        self.parent: npt.NDArray[np.int32] = cells.parent[table.number, : self._n]
        """[n] row of the alert; for alerts, row of the message."""

    def __len__(self) -> int:
        return self._n

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Return where all that was read so far can be used, [n]."""
        usable = np.ones(self._n, np.bool_)
        for _, bad, _ in self._checks:
            usable &= ~bad
        return usable

    def problem(self, row: int) -> str:
        """Return what is wrong with the first field that cannot be used in a row."""
        name, expected = next((name, text) for name, bad, text in self._checks if bad[row])
        return f"field {name} is {self._shown(name, row)}, must be {expected}"

    def absent(self, name: str) -> npt.NDArray[np.bool_]:
        """Tell where a field is null or not in the schema, [n]."""
        absent: npt.NDArray[np.bool_] = self._state(name) == ABSENT
        return absent

    def number(
        self, name: str, low: float, high: float, where: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return numbers between ``low`` and ``high``, both included."""
        values = self.optional_number(name)
        good = (values >= low) & (values <= high)
        self._check(name, good, f"a number between {low:g} and {high:g}", where)
        return values

    def positive(
        self, name: str, high: float, where: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return numbers above 0 and at most ``high``."""
        values = self.optional_number(name)
        good = (values > 0) & (values <= high)
        self._check(name, good, f"a number larger than 0 and at most {high:g}", where)
        return values

    def integer(
        self, name: str, where: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int64]:
        """Return integers."""
        self._check(name, self._has(name), "an integer", where)
        return self.optional_integer(name)

    def choice(
        self,
        name: str,
        choices: Mapping[Any, float],
        where: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return what an integer or a symbol stands for."""
        chosen = self.optional_choice(name, choices)
        self._check(name, ~np.isnan(chosen), f"one of {', '.join(map(str, choices))}", where)
        return chosen

    def optional_number(self, name: str) -> npt.NDArray[np.float64]:
        """Return numbers, NaN where there is none."""
        values = self._cells.numbers[self._slot(name).number, : self._n]
        return np.where(self._has(name), values, np.nan)

    def optional_integer(self, name: str) -> npt.NDArray[np.int64]:
        """Return integers, 0 where there is none."""
        values = self._cells.values[self._slot(name).number, : self._n]
        return np.where(self._has(name), values, 0)

    def optional_choice(self, name: str, choices: Mapping[Any, float]) -> npt.NDArray[np.float64]:
        """Return what an integer or a symbol stands for, NaN where it is none of those."""
        values = self._cells.values[self._slot(name).number, : self._n]
        has = self._has(name)
        chosen = np.full(self._n, np.nan)
        for key, meaning in choices.items():
            chosen[has & (values == (pack_symbol(key) if isinstance(key, str) else key))] = meaning
        return chosen

    def text(self, name: str, max_length: int) -> pa.StringArray:
        """Return texts of 1 to ``max_length`` characters."""
        has = self._has(name)
        span = np.where(has, self._cells.values[self._slot(name).number, : self._n], 0)
        start, length = span >> 32, span & 0xFFFFFFFF
        offsets = np.zeros(self._n + 1, np.int32)
        np.cumsum(length, out=offsets[1:])
        index = np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])
        data = self._cells.text[index]
        texts = pa.StringArray.from_buffers(self._n, pa.py_buffer(offsets), pa.py_buffer(data))
        characters = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        good = has & (characters > 0) & (characters <= max_length)
        self._check(name, good, f"a text of 1 to {max_length} characters")
        return texts

    def _check(
        self,
        name: str,
        good: npt.NDArray[np.bool_],
        expected: str,
        where: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._checks.append((name, ~good if where is None else ~good & where, expected))

    def _slot(self, name: str) -> Slot:
        return self._table.slots[name]

    def _has(self, name: str) -> npt.NDArray[np.bool_]:
        has: npt.NDArray[np.bool_] = self._state(name) == VALUE
        return has

    def _state(self, name: str) -> npt.NDArray[np.uint8]:
        return self._cells.state[self._slot(name).number, : self._n]

    def _shown(self, name: str, row: int) -> str:
        slot, state = self._slot(name), self._state(name)[row]
        if state == ABSENT:
            return "null"
        if state == UNUSABLE:
            return "of another type"
        value = self._cells.values[slot.number, row]
        if state == TOO_LONG:
            limit = SYMBOL_BYTES if slot.kind is Kind.SYMBOL else TEXT_BYTES
            return f"longer than {limit} bytes"
        if slot.kind is Kind.NUMBER:
            return f"{self._cells.numbers[slot.number, row]}"
        if slot.kind is Kind.INTEGER:
            return f"{value}"
        return shown(self._text_of(slot.kind, int(value)))

    def _text_of(self, kind: Kind, value: int) -> str:
        if kind is Kind.SYMBOL:
            data = value.to_bytes(8, "little", signed=True)
            return data[1 : 1 + data[0]].decode()
        start, length = value >> 32, value & 0xFFFFFFFF
        return self._cells.text[start : start + length].tobytes().decode()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def wrong_type(name: str, expected: str) -> Refusal:
    """Return the refusal of a message for the type of a field."""
    return Refusal(
        RefusedReason.INVALID_FIELD, f"field {name} is of another type, must be {expected}"
    )


def history_too_long() -> Refusal:
    """Return the refusal of an alert that does not fit the tables."""
    return Refusal(
        RefusedReason.INVALID_FIELD,
        f"a history of the alert has more than {CAPACITY} entries, the most that are read",
    )
