"""Writer schemas: parsed once, checked to be safe, then used to read many records.

fastavro reads records in C, by the schema that the sender supplied, and trusts
that schema. Three kinds would let a message hang or kill the process, whatever
its bytes are, and are refused here: schemas that contain themselves (the C
stack overflows), schemas nested too deeply (the same), and items that take no
bytes (a block of 2**62 of them never ends).

Known limits of its reader: a negative index into a union or an enum is accepted,
and counts from the end as in Python; an array of millions of one-byte records in
an uncompressed message costs about 200 bytes of memory for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final, cast

import fastavro
from fastavro.types import Schema

from stream.alerts import RefusedReason
from stream.refusal import Refusal

__all__ = ["MAX_NESTING", "MAX_SCHEMA_BYTES", "Record", "WriterSchema"]

Record = Mapping[str, object]
"""One decoded record: field name -> value."""

MAX_NESTING: Final = 32
"""Deepest nesting of a schema that is read; those of ZTF and LSST have 4."""

MAX_SCHEMA_BYTES: Final = 1 << 20
"""Longest schema text that is parsed; those of ZTF, LSST and their brokers have 30 kB."""

_PRIMITIVES: Final = frozenset(
    ("boolean", "int", "long", "float", "double", "bytes", "string"),
)
_COMPLEX: Final = ("record", "error", "array", "map", "fixed", "enum")
_NULLS: Final = ("null", {"type": "null"})
_OUR_KEYS: Final = ("logicalType", "__fastavro_parsed", "__named_schemas")


class WriterSchema:
    """A schema that records were written with. Make one with `parse`."""

    __slots__ = ("__weakref__", "_named", "_parsed", "name")

    def __init__(self, parsed: dict[str, Any]) -> None:
        self.name: Final[str] = parsed["name"]
        self._parsed: Final = parsed
        self._named: Final[dict[str, Any]] = parsed["__named_schemas"]

    @classmethod
    def parse(cls, text: bytes | str) -> WriterSchema:
        """Parse a schema in JSON; `Refusal` with ``invalid_schema`` when it cannot be used.

        Logical types are dropped: no field that is used has one, and one
        outside Python's range (a date in the year 10000) must not cost an alert.
        """
        if len(text) > MAX_SCHEMA_BYTES:
            raise _invalid(f"it is {len(text)} bytes long, at most {MAX_SCHEMA_BYTES} are read")
        try:
            parsed = fastavro.parse_schema(json.loads(text, object_hook=_without_our_keys))
            if not isinstance(parsed, dict) or parsed["type"] != "record":
                raise _invalid("it is not a record")
            schema = cls(parsed)
            _Nesting(schema._named).check(parsed)
        except Refusal:
            raise
        except Exception as error:  # fastavro meets hostile JSON with any error there is
            raise _invalid(_described(error)) from error
        return schema

    def read(self, body: IO[bytes]) -> Record:
        """Read one record; `Refusal` with ``corrupt_body`` when the bytes do not follow it.

        The caller must compare the position afterwards with the end of the
        record, and have at least one byte behind that end: a damaged length
        then shows as a position beyond it, never exactly at it.
        """
        try:
            return cast(Record, fastavro.schemaless_reader(body, self._parsed, None))
        except Exception as error:  # fastavro meets damaged bytes with any error there is
            raise Refusal(
                RefusedReason.CORRUPT_BODY,
                f"record does not follow its schema {self.name}: {_described(error)}",
            ) from error

    def fields(self, path: str = "") -> frozenset[str] | None:
        """Return the field names of the alert (``""``), or of the record in one of its fields.

        Unions and arrays around that record are looked through; None when there
        is no such field or it holds no record.
        """
        record: Any = self._parsed
        if path:
            types = [field["type"] for field in record["fields"] if field["name"] == path]
            record = next(self._records_in(types), None)
        return None if record is None else frozenset(field["name"] for field in record["fields"])

    @property
    def root(self) -> dict[str, Any]:
        """Return the definition of the alert record."""
        return self._parsed

    def resolve(self, avro: Schema) -> tuple[str, Any]:
        """Return the kind of a type and its definition.

        The kind is ``union`` (its branches), a complex type (its JSON object) or the name
        of a primitive type; names of other types are looked up.
        """
        while True:
            if isinstance(avro, list):
                return "union", avro
            if isinstance(avro, str):
                if avro == "null" or avro in _PRIMITIVES:
                    return avro, {}
                avro = self._named[avro]
            elif avro["type"] in _COMPLEX:
                return avro["type"], avro
            else:
                avro = avro["type"]

    def _records_in(self, schema: Schema) -> Iterator[dict[str, Any]]:
        """Yield the records that a type holds through unions and arrays."""
        if isinstance(schema, list):
            for branch in schema:
                yield from self._records_in(branch)
        elif isinstance(schema, str):
            if schema in self._named:
                yield from self._records_in(self._named[schema])
        elif schema["type"] == "array":
            yield from self._records_in(schema["items"])
        elif schema["type"] == "record":
            yield schema


class _Nesting:
    """Measure how deeply a parsed schema nests, refusing what cannot be read safely."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._depth: dict[str, int | None] = {}

    def check(self, schema: Schema, above: int = 0) -> int:
        """Return the depth of a schema that lies ``above`` levels deep; `Refusal` if unsafe."""
        if above > MAX_NESTING:
            raise _invalid(f"it nests more than {MAX_NESTING} levels")
        if isinstance(schema, list):
            branches = (branch for branch in schema if branch not in _NULLS)
            return max((self.check(branch, above + 1) for branch in branches), default=0) + 1
        if isinstance(schema, str):
            return self._named_or_primitive(schema, above)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema, above)
        if kind in ("array", "map"):
            return self.check(schema["items" if kind == "array" else "values"], above + 1) + 1
        if kind == "fixed" and schema["size"] < 1:
            raise _takes_no_bytes(schema["name"])
        return 0 if kind in ("enum", "fixed") else self.check(kind, above + 1) + 1

    def _named_or_primitive(self, name: str, above: int) -> int:
        if name == "null":
            raise _takes_no_bytes(name)
        return 0 if name in _PRIMITIVES else self.check(self._named[name], above)

    def _record(self, schema: dict[str, Any], above: int) -> int:
        name: str = schema["name"]
        names = [field["name"] for field in schema["fields"]]
        if not names:
            raise _takes_no_bytes(name)
        if not all(isinstance(x, str) for x in names) or len(set(names)) < len(names):
            raise _invalid(f"the fields of {name} are not named each by a text of its own")
        if name not in self._depth:
            self._depth[name] = None
            below = (self.check(field["type"], above + 1) for field in schema["fields"])
            self._depth[name] = max(below) + 1
        depth = self._depth[name]
        if depth is None:
            raise _invalid(f"{name} contains itself")
        if above + depth > MAX_NESTING:
            raise _invalid(f"it nests more than {MAX_NESTING} levels")
        return depth


def _without_our_keys(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in _OUR_KEYS}


def _described(error: Exception) -> str:
    return f"{error or 'it ends too early'} ({type(error).__name__})"


def _takes_no_bytes(name: str) -> Refusal:
    return _invalid(f"its type {name!r} takes no bytes")


def _invalid(why: str) -> Refusal:
    return Refusal(RefusedReason.INVALID_SCHEMA, f"schema cannot be used: {why}")
