"""Compile a writer schema into a flat program that keeps what a survey reads and skips the rest.

A program is a table of instructions, int32 [n, 4]: an `Op` and its operands a, b, c.
`stream.avro.kernel` runs it over the bytes of records. Jumps are relative, so
that programs can be put one behind another. Records that are used twice are
compiled twice: there are no calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stream.avro.cells import SYMBOL_BYTES
from stream.avro.projection import ALERT, Kind, Layout, RecordFields, Slot, Table
from stream.avro.writer import WriterSchema

__all__ = ["MAX_OPS", "Op", "Program", "UnsupportedSchemaError", "compile_schema", "pack_symbol"]

MAX_OPS: Final = 1 << 15
"""Longest program; those of ZTF and LSST have about 300 instructions."""


class Op(IntEnum):
    """What an instruction does: lead on (below 10), skip a value (below 20) or store one."""

    END = 0
    """The record ends here."""
    JUMP = 1
    """Go on a instructions further."""
    UNION = 2
    """Read a branch index below a, and go on that many instructions behind the next."""
    PRESENT = 3
    """Read the index of a union of null and something: b is that of the value, else go on
    a instructions further."""
    LOOP = 4
    """Begin an array or map: its blocks are counted by the `NEXT` that follows."""
    NEXT = 5
    """Go on with the next item, or a instructions further when there is none.

    b is 1 where the items were rows of a table: what follows belongs to the alert.
    """
    ROW = 6
    """Begin a row of table a, whose columns are the c slots from b on."""
    FAIL = 7
    """The value here has a type that the survey cannot use."""

    SKIP = 10
    """Skip a bytes."""
    SKIP_LONG = 11
    """Skip an int or long."""
    SKIP_BYTES = 12
    """Skip a string or bytes."""
    SKIP_ENUM = 13
    """Skip an enum of a symbols."""
    OPTIONAL = 14
    """Skip c unions of null and a bytes; the index of the branch with bytes is b."""
    OPTIONAL_LONG = 15
    """Skip c unions of null and an int or long; its index is b."""

    FLOAT = 20
    """Store a float as a number in slot a."""
    DOUBLE = 21
    """Store a double as a number in slot a."""
    LONG_NUMBER = 22
    """Store an int or long as a number in slot a."""
    INTEGER = 23
    """Store an int or long in slot a."""
    SYMBOL = 24
    """Store a short string in slot a."""
    TEXT = 25
    """Store a string in slot a."""
    BOOLEAN = 26
    """Store a boolean as a symbol in slot a."""
    ENUM = 27
    """Store one of b symbols in slot a; they stand packed behind the next instruction, a jump."""
    UNUSABLE = 28
    """Note that slot a has a value of a type that cannot be used; it is skipped next."""


class UnsupportedSchemaError(Exception):
    """A schema is valid, but no program of bounded size reads it."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled schema."""

    code: npt.NDArray[np.int32]
    """[n, 4]"""
    names: list[list[str]]
    """[n] the fields that each instruction reads, with their paths."""
    expected: dict[int, str]
    """Instruction `Op.FAIL` -> what the survey needs there."""


def compile_schema(schema: WriterSchema, layout: Layout) -> Program:
    """Return the program of a schema; `UnsupportedSchemaError` when it would be too long."""
    return _Compiler(schema, layout).compile()


_STORES: Final = {
    (Kind.NUMBER, "int"): Op.LONG_NUMBER,
    (Kind.NUMBER, "long"): Op.LONG_NUMBER,
    (Kind.NUMBER, "float"): Op.FLOAT,
    (Kind.NUMBER, "double"): Op.DOUBLE,
    (Kind.INTEGER, "int"): Op.INTEGER,
    (Kind.INTEGER, "long"): Op.INTEGER,
    (Kind.SYMBOL, "string"): Op.SYMBOL,
    (Kind.SYMBOL, "boolean"): Op.BOOLEAN,
    (Kind.TEXT, "string"): Op.TEXT,
}
_BYTES: Final = {"boolean": 1, "float": 4, "double": 8}
_RECORDS: Final = ("record", "error")

_Target = Slot | Table | RecordFields | None
"""What becomes of a value: a cell, the rows of a table, fields of the alert, or nothing."""


class _Compiler:
    """One pass over a schema. A label keeps later instructions from merging into earlier ones."""

    def __init__(self, schema: WriterSchema, layout: Layout) -> None:
        self._schema = schema
        self._layout = layout
        self._code: list[list[int]] = []
        self._names: list[list[str]] = []
        self._expected: dict[int, str] = {}
        self._label = 0

    def compile(self) -> Program:
        alerts = self._layout.tables[ALERT]
        self._emit(Op.ROW, ALERT, alerts.number, alerts.first_slot, len(alerts.slots))
        self._alert(self._schema.root)
        self._emit(Op.END, ALERT)
        return Program(np.array(self._code, np.int32), self._names, self._expected)

    def _emit(self, op: Op, name: str, a: int = 0, b: int = 0, c: int = 0) -> int:
        if len(self._code) >= MAX_OPS:
            raise UnsupportedSchemaError(f"its program is longer than {MAX_OPS} instructions")
        self._code.append([op, a, b, c])
        self._names.append([name])
        return len(self._code) - 1

    def _land(self, *jumps: int) -> None:
        """Let jumps that were emitted go on here."""
        self._label = len(self._code)
        for at in jumps:
            self._code[at][1] = self._label - at

    def _alert(self, record: dict[str, Any]) -> None:
        targets: dict[str, _Target] = dict(self._layout.tables[ALERT].slots)
        for used in self._layout.uses:
            if used.path != ALERT:
                targets[used.path] = self._layout.tables[used.path] if used.repeated else used
        for field in record["fields"]:
            self._value(field["type"], field["name"], targets.get(field["name"]))

    def _fields(self, record: dict[str, Any], path: str, slots: dict[str, Slot]) -> None:
        """Read the fields of a record; ``slots`` has those to keep, by their name here."""
        for field in record["fields"]:
            name = field["name"]
            self._value(field["type"], f"{path}.{name}", slots.get(name))

    def _value(self, avro: Any, name: str, target: _Target) -> None:
        kind, definition = self._schema.resolve(avro)
        if kind == "union":
            self._union(definition, name, target)
        elif kind == "null":
            pass
        elif isinstance(target, Slot):
            self._cell(kind, definition, name, target)
        elif isinstance(target, Table):
            self._history(kind, definition, name, target)
        elif isinstance(target, RecordFields):
            self._subrecord(kind, definition, name, target)
        else:
            self._skip(kind, definition, name)

    def _union(self, branches: list[Any], name: str, target: _Target) -> None:
        if target is None and self._optional(branches, name):
            return
        self._branches(branches, name, lambda branch: self._value(branch, name, target))

    def _branches(self, branches: list[Any], name: str, read: Callable[[Any], None]) -> None:
        nulls = [self._schema.resolve(branch)[0] == "null" for branch in branches]
        if len(branches) == 2 and any(nulls):
            index = nulls.index(False) if False in nulls else 2
            present = self._emit(Op.PRESENT, name, 0, index)
            read(branches[index % 2])
            self._land(present)
            return
        self._emit(Op.UNION, name, len(branches))
        jumps = [self._emit(Op.JUMP, name) for _ in branches]
        ends = []
        for jump, branch in zip(jumps, branches, strict=True):
            self._land(jump)
            read(branch)
            ends.append(self._emit(Op.JUMP, name))
        self._land(*ends)

    def _optional(self, branches: list[Any], name: str) -> bool:
        """Skip a union of null and something simple in one instruction; False where it is not."""
        kinds = [self._schema.resolve(branch) for branch in branches]
        if len(kinds) != 2 or [kind for kind, _ in kinds].count("null") != 1:
            return False
        index = 0 if kinds[1][0] == "null" else 1
        kind, definition = kinds[index]
        size = definition["size"] if kind == "fixed" else _BYTES.get(kind, 0)
        if kind in ("int", "long"):
            self._merged(Op.OPTIONAL_LONG, name, 0, index)
        elif size:
            self._merged(Op.OPTIONAL, name, size, index)
        else:
            return False
        return True

    def _merged(self, op: Op, name: str, a: int, b: int) -> None:
        """Emit an instruction with a count c, or count one more of the same kind."""
        last = self._code[-1] if len(self._code) > self._label else None
        if last is not None and last[:3] == [op, a, b]:
            last[3] += 1
            self._names[-1].append(name)
        else:
            self._emit(op, name, a, b, 1)

    def _cell(self, kind: str, definition: Any, name: str, slot: Slot) -> None:
        op = _STORES.get((slot.kind, kind))
        if op is not None:
            self._emit(op, name, slot.number)
        elif kind == "enum" and slot.kind is Kind.SYMBOL:
            self._enum(definition["symbols"], name, slot)
        elif kind == "enum" and slot.kind is Kind.TEXT:
            raise UnsupportedSchemaError(f"{name} is an enum where a string is needed")
        else:
            self._emit(Op.UNUSABLE, name, slot.number)
            self._skip(kind, definition, name)

    def _enum(self, symbols: list[str], name: str, slot: Slot) -> None:
        self._emit(Op.ENUM, name, slot.number, len(symbols))
        self._emit(Op.JUMP, name, len(symbols) + 1)
        for symbol in symbols:
            packed = pack_symbol(symbol)
            low, high = np.array([packed or 0]).view(np.int32).tolist()
            self._emit(Op.END, name, low, high, int(packed is not None))

    def _history(self, kind: str, definition: Any, name: str, table: Table) -> None:
        if kind != "array":
            self._fail(name, "an array")
            return
        loop = self._loop(name)
        self._entry(definition["items"], name, table)
        self._end_loop(loop, name)
        self._code[loop][2] = 1

    def _entry(self, items: Any, name: str, table: Table) -> None:
        kind, definition = self._schema.resolve(items)
        if kind == "union":
            self._branches(definition, name, lambda branch: self._entry(branch, name, table))
        elif kind in _RECORDS:
            self._emit(Op.ROW, name, table.number, table.first_slot, len(table.slots))
            self._fields(definition, name, table.slots)
        elif kind != "null":
            self._fail(name, "an array of records")

    def _subrecord(self, kind: str, definition: Any, name: str, record: RecordFields) -> None:
        if kind in _RECORDS:
            slots = self._layout.tables[ALERT].slots
            self._fields(definition, name, {x: slots[record.name(x)] for x in record.fields})
        elif record.may_be_absent:
            self._skip(kind, definition, name)
        else:
            self._fail(name, "a record")

    def _fail(self, name: str, expected: str) -> None:
        self._expected[self._emit(Op.FAIL, name)] = expected

    def _skip(self, kind: str, definition: Any, name: str) -> None:
        if kind in _RECORDS:
            self._fields(definition, name, {})
        elif kind in ("array", "map"):
            loop = self._loop(name)
            if kind == "map":
                self._emit(Op.SKIP_BYTES, name)
            self._value(definition["items" if kind == "array" else "values"], name, None)
            self._end_loop(loop, name)
        elif kind == "fixed" or kind in _BYTES:
            self._skip_bytes(definition["size"] if kind == "fixed" else _BYTES[kind], name)
        elif kind == "enum":
            self._emit(Op.SKIP_ENUM, name, len(definition["symbols"]))
        else:
            self._emit(Op.SKIP_LONG if kind in ("int", "long") else Op.SKIP_BYTES, name)

    def _skip_bytes(self, size: int, name: str) -> None:
        last = self._code[-1] if len(self._code) > self._label else None
        if last is not None and last[0] == Op.SKIP and last[1] + size < 2**31:
            last[1] += size
        elif size < 2**31:
            self._emit(Op.SKIP, name, size)
        else:
            raise UnsupportedSchemaError(f"{name} has {size} bytes")

    def _loop(self, name: str) -> int:
        self._emit(Op.LOOP, name)
        self._land()
        return self._emit(Op.NEXT, name)

    def _end_loop(self, loop: int, name: str) -> None:
        back = self._emit(Op.JUMP, name)
        self._code[back][1] = loop - back
        self._land(loop)


def pack_symbol(text: str) -> int | None:
    """Return a text of at most 7 bytes as one int64: its length, then its bytes; else None."""
    data = text.encode()
    if len(data) > SYMBOL_BYTES:
        return None
    return int.from_bytes(
        bytes([len(data)]) + data.ljust(SYMBOL_BYTES, b"\0"), "little", signed=True
    )
