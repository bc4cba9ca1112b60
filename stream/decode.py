"""Decode the messages of a poll into one `AlertBatch`.

A message is accepted or refused as a whole. Whatever its bytes are, decoding
returns: with its alerts, or with the reason why it has none.

Messages of known schemas are read by one call of a kernel. One that is new to
it, compressed or damaged is looked at alone: to learn its schema, to unfold it,
or to say what is wrong with it.

Memory: the tables of a `Decoder` are of fixed size, and what is copied out of them
is at most ten times as long as the messages (an observation takes 52 bytes in all,
and at least 6 of its message).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from stream.alerts import AlertBatch, MessageBatch, RefusedReason
from stream.avro import confluent, container, keyed
from stream.avro.cells import Event, Fault, KnownSchemas
from stream.avro.framing import Block
from stream.avro.kernel import read_messages, read_records
from stream.avro.program import Program, UnsupportedSchemaError, compile_schema
from stream.avro.projection import Layout, check_fields, lay_out
from stream.avro.schemas import SchemaStore
from stream.avro.tables import Full, Tables, history_too_long, wrong_type
from stream.avro.writer import Record, WriterSchema
from stream.columns import AlertColumns
from stream.refusal import Refusal, shown
from stream.surveys import SURVEYS, surveys_named
from stream.surveys.survey import Survey

__all__ = ["MAX_FALLBACK_BYTES", "Decoder"]

MAX_FALLBACK_BYTES: Final = 1 << 20
"""Longest block that fastavro reads: its objects may take 200 times as much memory."""

_MAX_FALLBACK_NAMES: Final = 16
_ALL: Final = tuple(survey.name for survey in SURVEYS)


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the records of a schema are read."""

    schema: WriterSchema
    survey: Survey
    layout: Layout
    program: Program | None
    """None where only fastavro can read them."""


class Decoder:
    """Turn messages into alerts; its kernels are compiled once it is made.

    Not safe for use by several threads at once.

    ``schemas`` are those of Confluent-framed messages, ``surveys`` the names of
    the surveys that are switched on; `ConfigurationError` for an unknown name.
    """

    def __init__(self, schemas: SchemaStore | None = None, surveys: Sequence[str] = _ALL) -> None:
        self._schemas = SchemaStore() if schemas is None else schemas
        self._headers = container.HeaderCache()
        self._keys = keyed.KeySchemas()
        self._layouts = _lay_out(surveys_named(surveys))
        self._tables = Tables([layout for _, layout in self._layouts])
        self._readers: WeakKeyDictionary[WriterSchema, _Reader] = WeakKeyDictionary()
        self._ids: dict[int, Program] = {}
        self._known_headers: list[bytes] = []
        self._known = _known_schemas([], [], {})
        self.fallbacks: Counter[str] = Counter()
        """Messages that only fastavro could read, by the name of their schema."""
        self._compile_kernels()

    @property
    def schema_cache_hits(self) -> int:
        """Return how often a schema was already parsed."""
        return self._headers.hits + self._schemas.hits + self._keys.hits

    @property
    def schema_cache_misses(self) -> int:
        """Return how often a schema had to be parsed or fetched."""
        return self._headers.misses + self._schemas.misses + self._keys.misses

    @property
    def schema_unknown(self) -> int:
        """Return how many messages named a schema id that no source gave a schema for."""
        return self._schemas.unknown

    def decode(self, messages: MessageBatch) -> AlertBatch:
        """Decode a batch; refused messages are listed in the result, none is raised."""
        columns = AlertColumns(len(messages))
        for row, refusal in messages.refused.items():
            columns.refuse(row, refusal)
        buffers = [pa.py_buffer(value) for value in messages.values]
        address = np.array([buffer.address for buffer in buffers], np.int64)
        length = np.array([buffer.size for buffer in buffers], np.int64)
        at = 0
        while at < len(messages):
            at, event = read_messages(address, length, at, self._known, self._tables.cells)
            if event == Event.LOOK:
                self._look_at(at, messages.values[at], messages.keys[at], columns)
                at += 1
            elif event == Event.FULL:
                self._empty_tables(columns)
        self._empty_tables(columns)
        self._note_hits()
        return columns.to_batch()

    def _compile_kernels(self) -> None:
        """Run the kernels over nothing, so that the first message is not late."""
        nothing = np.zeros(0, np.int64)
        cells = self._tables.cells
        read_messages(nothing, nothing, 0, self._known, cells)
        read_records(0, 0, 0, 0, self._known.code, 0, cells, np.zeros(4, np.int64))

    def _look_at(
        self, message: int, value: bytes, key: bytes | None, columns: AlertColumns
    ) -> None:
        """Read a message that the kernel left alone, or refuse it."""
        try:
            reader, blocks = self._open(value, key)
            if reader.program is None:
                self._count_fallback(reader.schema.name)
            n_records = 0
            for block in blocks:
                self._read(block, reader, message, columns)
                n_records += block.n_records
            if not n_records:
                raise Refusal(RefusedReason.EMPTY, "container is valid but holds no record")
        except Refusal as refusal:
            columns.refuse(message, refusal)

    def _count_fallback(self, schema: str) -> None:
        # Senders choose the names: they must not fill the memory of whoever counts.
        known = schema in self.fallbacks or len(self.fallbacks) < _MAX_FALLBACK_NAMES
        self.fallbacks[schema if known else "other"] += 1

    def _open(self, value: bytes, key: bytes | None) -> tuple[_Reader, Iterable[Block]]:
        """Return how a message is read, and the blocks of its records, not yet read."""
        if not value:
            raise Refusal(RefusedReason.EMPTY, "message has no bytes")
        if value.startswith(container.MAGIC):
            misses = self._headers.misses
            header = self._headers.find(value)
            reader = self._reader(header.schema)
            if self._headers.misses > misses:
                self._learn()
            return reader, container.read_blocks(value, header)
        if key is not None and keyed.is_schema(key):
            return self._reader(self._keys.get(key)), [keyed.read_block(value)]
        if value.startswith(confluent.MAGIC):
            schema_id = confluent.schema_id(value)
            schema = self._schemas.get(schema_id)
            if schema is None:
                raise self._schemas.refusal(schema_id)
            reader = self._reader(schema)
            if reader.program is not None and schema_id not in self._ids:
                self._ids[schema_id] = reader.program
                self._learn()
            return reader, [confluent.read_block(value)]
        raise Refusal(
            RefusedReason.NOT_AVRO,
            f"message begins with {shown(value[:16])}: neither an Avro container (Obj, 1) "
            "nor Confluent framing (0), and its key is no schema",
        )

    def _reader(self, schema: WriterSchema) -> _Reader:
        """Return how a schema's records are read; found out once per schema."""
        known = self._readers.get(schema)
        if known is not None:
            return known
        for survey, layout in self._layouts:
            if survey.recognises(schema):
                check_fields(survey.uses, schema, survey.name)
                reader = _Reader(schema, survey, layout, _program(schema, layout))
                self._readers[schema] = reader
                return reader
        raise Refusal(
            RefusedReason.UNSUPPORTED_SURVEY,
            f"schema {schema.name} is not that of an alert of "
            f"{' or '.join(survey.name for survey, _ in self._layouts)}",
        )

    def _learn(self) -> None:
        """Hand the kernel all schemas that it can read by itself."""
        self._note_hits()
        readers = [
            (content, self._readers.get(header.schema))
            for content, header in self._headers.known().items()
            if header.codec == "null"
        ]
        programs = [(h, r.program) for h, r in readers if r is not None and r.program is not None]
        self._known_headers = [header for header, _ in programs]
        self._known = _known_schemas(self._known_headers, [p for _, p in programs], self._ids)

    def _note_hits(self) -> None:
        for header, hits in zip(self._known_headers, self._known.header_hits.tolist(), strict=True):
            if hits:
                self._headers.used(header, hits)
        self._schemas.hits += int(self._known.schema_hits.sum())
        self._known.header_hits[:] = 0
        self._known.schema_hits[:] = 0

    def _read(self, block: Block, reader: _Reader, message: int, columns: AlertColumns) -> None:
        """Read the records of a block into the tables, which are emptied whenever they are full."""
        if reader.program is None:
            if block.end - block.start > MAX_FALLBACK_BYTES:
                raise Refusal(
                    RefusedReason.INVALID_SCHEMA,
                    f"only the general decoder reads schema {reader.schema.name}, and "
                    f"{block.name} has more than the {MAX_FALLBACK_BYTES} bytes that it may read",
                )
            for record in block.records(reader.schema):
                self._append(record, reader, message, columns)
            return
        fault = np.zeros(4, np.int64)
        address, at, done = pa.py_buffer(block.data).address, block.start, 0
        while done < block.n_records:
            n, at = read_records(
                address,
                at,
                block.end,
                block.n_records - done,
                reader.program.code,
                message,
                self._tables.cells,
                fault,
            )
            done += n
            if fault[0] == Fault.FULL:
                self._make_room(columns)
            elif fault[0] != Fault.NONE:
                raise _refusal(fault.tolist(), reader, f"record {done + 1} of {block.name}")
        block.check_end(at)

    def _append(self, record: Record, reader: _Reader, message: int, columns: AlertColumns) -> None:
        while True:
            try:
                self._tables.append(record, reader.layout, message)
            except Full:
                self._make_room(columns)
            else:
                return

    def _make_room(self, columns: AlertColumns) -> None:
        if not len(self._tables):
            raise history_too_long()
        self._empty_tables(columns)

    def _empty_tables(self, columns: AlertColumns) -> None:
        for survey, layout in self._layouts:
            rows = {path: self._tables.rows(table) for path, table in layout.tables.items()}
            if len(rows[""]):
                columns.add(survey, rows)
        self._tables.clear()


def _lay_out(surveys: Sequence[Survey]) -> list[tuple[Survey, Layout]]:
    """Give the columns of all surveys a place of their own."""
    layouts: list[tuple[Survey, Layout]] = []
    n_tables = n_slots = 0
    for survey in surveys:
        layout = lay_out(survey.uses, n_tables, n_slots)
        layouts.append((survey, layout))
        n_tables += len(layout.tables)
        n_slots += layout.n_slots
    return layouts


def _program(schema: WriterSchema, layout: Layout) -> Program | None:
    try:
        return compile_schema(schema, layout)
    except UnsupportedSchemaError:
        return None


def _known_schemas(
    headers: Sequence[bytes], programs: Sequence[Program], ids: dict[int, Program]
) -> KnownSchemas:
    """Put programs one behind another, for headers and for schema ids."""
    codes = [program.code for program in (*programs, *ids.values())]
    ends = np.cumsum([0, *map(len, codes)])
    entries = ends[:-1].astype(np.int64)
    return KnownSchemas(
        code=np.concatenate([np.zeros((0, 4), np.int32), *codes]),
        header=np.frombuffer(bytearray(b"".join(headers)), np.uint8),
        header_start=np.cumsum([0, *map(len, headers)]).astype(np.int64),
        header_entry=entries[: len(headers)].copy(),
        header_hits=np.zeros(len(headers), np.int64),
        schema_id=np.array(list(ids), np.int64),
        schema_entry=entries[len(headers) :].copy(),
        schema_hits=np.zeros(len(ids), np.int64),
    )


_FAULTS: Final = {
    Fault.TRUNCATED: "it reads past the end",
    Fault.BAD_LONG: "a number has more than 10 bytes",
    Fault.BAD_LENGTH: "a length or count is negative",
    Fault.BAD_INDEX: "the index of a union or enum is out of range",
    Fault.BAD_UTF8: "a text is not UTF-8",
}


def _refusal(fault: Sequence[int], reader: _Reader, record: str) -> Refusal:
    """Return the refusal for a `Fault` that the kernel wrote down: which byte, which field."""
    assert reader.program is not None
    kind, at, instruction, which = fault
    names = reader.program.names[instruction]
    name = names[min(which, len(names) - 1)]
    if kind == Fault.WRONG_TYPE:
        expected = reader.program.expected[instruction]
        return wrong_type(name, expected)
    return Refusal(
        RefusedReason.CORRUPT_BODY,
        f"{record} does not follow its schema {reader.schema.name}: {_FAULTS[Fault(kind)]} "
        f"at byte {at}, field {name or reader.schema.name}",
    )
