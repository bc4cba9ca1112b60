"""Alerts that arrive decoded, as nested Arrow columns: Parquet of the Fink broker, Spark.

Fields are read under the names that they have in the survey's packets: ``candidate``
as a struct, ``prv_candidates`` as a list of structs. Their columns fill the same tables
as the decoder's kernels do, and the survey reads those: one set of rules, the same answers.

Notation: N rows, one alert each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.alerts import AlertBatch, RefusedReason
from stream.avro.cells import ABSENT, TEXT_BYTES, TOO_LONG, UNUSABLE, VALUE, Cells
from stream.avro.program import pack_symbol
from stream.avro.projection import (
    ALERT,
    Kind,
    Layout,
    RecordFields,
    Slot,
    check_fields,
    lay_out,
)
from stream.avro.tables import CAPACITY, Rows, history_too_long, wrong_type
from stream.columns import AlertColumns
from stream.refusal import Refusal
from stream.surveys import SURVEYS, surveys_named
from stream.surveys.survey import Survey

__all__ = ["NestedColumns", "NestedDecoder", "survey_of"]

_ALL: Final = tuple(survey.name for survey in SURVEYS)


class NestedColumns:
    """An Arrow schema as surveys look at it; see `stream.avro.projection.AlertSchema`."""

    name: Final = "of the columns"

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def fields(self, path: str = "") -> frozenset[str] | None:
        """Return the names of the columns, or of the fields of the structs in one of them."""
        if not path:
            return frozenset(self._schema.names)
        at = self._schema.get_field_index(path)
        kind = None if at < 0 else self._schema.field(at).type
        while kind is not None and _is_list(kind):
            kind = kind.value_type
        if kind is None or not pa.types.is_struct(kind):
            return None
        return frozenset(kind.field(i).name for i in range(kind.num_fields))


def survey_of(schema: pa.Schema, surveys: Sequence[str] = _ALL) -> Survey | None:
    """Return which of the named surveys' alerts the rows of a table are, None for neither's."""
    columns = NestedColumns(schema)
    return next((s for s in surveys_named(surveys) if s.recognises(columns)), None)


class NestedDecoder:
    """Turn rows of nested columns into alerts.

    ``surveys`` are the names of the surveys that are switched on; `ConfigurationError`
    for an unknown name.
    """

    def __init__(self, surveys: Sequence[str] = _ALL) -> None:
        self._layouts = {survey.name: lay_out(survey.uses) for survey in surveys_named(surveys)}

    def decode(self, rows: pa.RecordBatch) -> AlertBatch:
        """Decode N rows; `AlertBatch.message` is the row, and refused rows are listed there.

        Only columns that the survey reads need to be there. None is changed or kept.
        """
        columns = AlertColumns(rows.num_rows)
        try:
            survey = self._survey(rows.schema)
        except Refusal as refusal:
            for row in range(rows.num_rows):
                columns.refuse(row, refusal)
        else:
            layout = self._layouts[survey.name]
            cells = _Filled(rows, layout, columns).cells()
            columns.add(survey, {path: Rows(t, cells) for path, t in layout.tables.items()})
        return columns.to_batch()

    def _survey(self, schema: pa.Schema) -> Survey:
        survey = survey_of(schema, tuple(self._layouts))
        if survey is None:
            raise Refusal(
                RefusedReason.UNSUPPORTED_SURVEY,
                f"the columns are not those of an alert of {' or '.join(self._layouts)}",
            )
        check_fields(survey.uses, NestedColumns(schema), survey.name)
        return survey


class _Filled:
    """The tables of one survey, filled from columns."""

    def __init__(self, rows: pa.RecordBatch, layout: Layout, refused: AlertColumns) -> None:
        self._rows = rows
        self._layout = layout
        self._refused = refused
        self._n: dict[str, int] = {ALERT: rows.num_rows}
        self._parent: dict[str, npt.NDArray[np.int32]] = {
            ALERT: np.arange(rows.num_rows, dtype=np.int32)
        }
        self._columns: list[tuple[Slot, pa.Array]] = []
        for used in layout.uses:
            if used.repeated:
                self._add_history(used)
            else:
                self._add_record(used)

    def cells(self) -> Cells:
        """Return the filled cells of all tables."""
        tables = self._layout.tables
        shape = (self._layout.n_slots, max(self._n.values()))
        # Memory that is not written to is never taken: most tables are shorter than the longest.
        values, state = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        parent = np.zeros((len(tables), shape[1]), np.int32)
        n_rows = np.zeros(len(tables), np.int64)
        for path, table in tables.items():
            n_rows[table.number] = self._n[path]
            parent[table.number, : self._n[path]] = self._parent[path]
        texts = [np.zeros(0, np.uint8)]
        for slot, column in self._columns:
            _fill(slot, column, values[slot.number], state[slot.number], texts)
        text = np.concatenate(texts)
        return Cells(
            values=values,
            numbers=values.view(np.float64),
            state=state,
            parent=parent,
            n_rows=n_rows,
            text=text,
            n_text=np.array([len(text)]),
        )

    def _add_record(self, used: RecordFields) -> None:
        """Add the fields of the alert itself or of one struct in it."""
        slots = self._layout.tables[ALERT].slots
        if used.path == ALERT:
            for name in used.fields:
                if (at := self._rows.schema.get_field_index(name)) >= 0:
                    self._columns.append((slots[name], self._rows.column(at)))
            return
        part = self._part(used)
        if part is None:
            return
        if pa.types.is_struct(part.type):
            for name in used.fields:
                self._add_field(slots[used.name(name)], part, name)
        elif not used.may_be_absent:
            self._refuse(part.is_valid(), wrong_type(used.path, "a record"))

    def _add_history(self, used: RecordFields) -> None:
        """Add the entries of a list of structs; null lists and null entries have none."""
        table = self._layout.tables[used.path]
        self._n[used.path], self._parent[used.path] = 0, np.zeros(0, np.int32)
        part = self._part(used)
        if part is None:
            return
        if not _is_list(part.type) or not pa.types.is_struct(part.type.value_type):
            self._refuse(part.is_valid(), wrong_type(used.path, "an array of records"))
            return
        length = pc.list_value_length(part).fill_null(0).to_numpy(zero_copy_only=False)
        too_long = length > CAPACITY
        self._refuse(pa.array(too_long), history_too_long())
        parent = np.repeat(np.arange(len(part), dtype=np.int32), length)
        entries = part.flatten()
        good = entries.is_valid().to_numpy(zero_copy_only=False) & ~too_long[parent]
        if not good.all():
            entries, parent = entries.filter(pa.array(good)), parent[good]
        self._n[used.path], self._parent[used.path] = len(parent), parent
        for name, slot in table.slots.items():
            self._add_field(slot, entries, name)

    def _part(self, used: RecordFields) -> pa.Array | None:
        at = self._rows.schema.get_field_index(used.path)
        part = None if at < 0 else self._rows.column(at)
        return None if part is None or pa.types.is_null(part.type) else part

    def _add_field(self, slot: Slot, structs: pa.StructArray, name: str) -> None:
        at = structs.type.get_field_index(name)
        if at >= 0:
            # Null where the struct itself is.
            self._columns.append((slot, pc.struct_field(structs, [at])))

    def _refuse(self, rows: pa.BooleanArray, refusal: Refusal) -> None:
        for row in np.flatnonzero(rows.to_numpy(zero_copy_only=False)).tolist():
            self._refused.refuse(row, refusal)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _fill(
    slot: Slot,
    column: pa.Array,
    values: npt.NDArray[np.int64],
    state: npt.NDArray[np.uint8],
    texts: list[npt.NDArray[np.uint8]],
) -> None:
    """Write a column into a slot's ``values`` and ``state`` and its bytes behind ``texts``."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    n, kind = len(column), column.type
    values, state = values[:n], state[:n]
    state[:] = np.where(column.is_valid().to_numpy(zero_copy_only=False), VALUE, ABSENT)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not n or pa.types.is_null(kind):
        return
    if slot.kind is Kind.NUMBER and number:
        values.view(np.float64)[:] = _plain_array(column, pa.float64())
    elif slot.kind is Kind.INTEGER and pa.types.is_integer(kind):
        values[:] = _plain_array(column, pa.int64())
        if pa.types.is_uint64(kind):
            state[values < 0] = UNUSABLE
    elif slot.kind is Kind.SYMBOL and (text or pa.types.is_boolean(kind)):
        _fill_symbols(column, values, state)
    elif slot.kind is Kind.TEXT and text:
        _fill_texts(column.cast(pa.string()), values, state, texts)
    else:
        state[state == VALUE] = UNUSABLE


def _plain_array(column: pa.Array, kind: pa.DataType) -> npt.NDArray[Any]:
    """Return numbers of one type, 0 for null."""
    numbers = column.cast(kind, safe=False).fill_null(0)
    array: npt.NDArray[Any] = numbers.to_numpy(zero_copy_only=False)
    return array


def _fill_symbols(
    column: pa.Array, values: npt.NDArray[np.int64], state: npt.NDArray[np.uint8]
) -> None:
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "t", "f")
    # As bytes: what is not UTF-8 must not raise.
    symbols = column.cast(pa.large_binary()).dictionary_encode()
    packed, states = [0], [ABSENT]
    for symbol in symbols.dictionary.to_pylist():
        try:
            value = pack_symbol(symbol.decode())
        except UnicodeDecodeError:
            packed.append(0)
            states.append(UNUSABLE)
        else:
            packed.append(value or 0)
            states.append(TOO_LONG if value is None else VALUE)
    index = symbols.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
    values[:] = np.array(packed)[index]
    state[:] = np.array(states, np.uint8)[index]


def _fill_texts(
    column: pa.StringArray,
    values: npt.NDArray[np.int64],
    state: npt.NDArray[np.uint8],
    texts: list[npt.NDArray[np.uint8]],
) -> None:
    _, offsets, data = column.buffers()
    span = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).astype(np.int64)
    length = np.diff(span)
    before = sum(map(len, texts))
    if data is not None:
        texts.append(np.frombuffer(data, np.uint8)[span[0] : span[-1]])
    values[:] = (span[:-1] - span[0] + before) << 32 | length
    state[(state == VALUE) & (length > TEXT_BYTES)] = TOO_LONG
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        binary = column.cast(pa.binary()).to_pylist()
        state[[value is not None and not _is_utf8(value) for value in binary]] = UNUSABLE


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
