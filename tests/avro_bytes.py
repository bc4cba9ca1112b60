"""Random Avro: schemas, and bytes that follow them in every encoding the specification allows."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

__all__ = ["encoded", "long_bytes", "schemas"]

_INTS = st.integers(-(2**31), 2**31 - 1)
_LONGS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 2**63 - 1, -(2**63)])
_TEXTS = st.text(max_size=9) | st.sampled_from(["", "t", "gr\u00fcn", "\U0001f52d" * 2, "x" * 300])
_PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")


def long_bytes(number: int) -> bytes:
    """Return a zigzag-coded long."""
    coded = (number << 1) ^ (number >> 63)
    data = bytearray()
    while coded > 0x7F:
        data.append(coded & 0x7F | 0x80)
        coded >>= 7
    return bytes([*data, coded])


class _Names:
    """Names for the types of one schema, and those that can be used again."""

    def __init__(self) -> None:
        self.defined: list[str] = []
        self._count = 0

    def new(self) -> str:
        self._count += 1
        return f"T{self._count}"


@st.composite
def schemas(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Draw a record schema with the given fields, some left out, and others around them.

    The value of a field is a strategy for a wish: None for any type, or a type to prefer.
    """
    names = _Names()
    rows: list[dict[str, Any]] = []
    for name, wishes in fields.items():
        for k in range(draw(st.integers(0, 2))):
            rows.append({"name": f"{name}_before_{k}", "type": _type(draw, names, 2)})
        if draw(st.integers(0, 9)):
            wish = draw(wishes)
            rows.append({"name": name, "type": _wished(draw, names, wish)})
    rows.append({"name": "last", "type": draw(st.sampled_from(_PRIMITIVES))})
    return {"type": "record", "name": "Alert", "fields": rows}


def _wished(draw: st.DrawFn, names: _Names, wish: Any) -> Any:
    """Return the wished type, alone or in a union; now and then another one."""
    if wish is None or not draw(st.integers(0, 9)):
        # fastavro reads a map as it reads a record: as a dict, which cannot be told apart.
        return _type(draw, names, 2, maps=not isinstance(wish, dict))
    if wish == "enum":
        return _define(names, {"type": "enum", "symbols": ["g", "f", "seven_b", "a_long_symbol"]})
    if isinstance(wish, dict) and wish["type"] == "array":
        wish = {"type": "array", "items": _wished(draw, names, wish["items"])}
    elif isinstance(wish, dict):
        inner = [
            {"name": name, "type": _wished(draw, names, kind)}
            for name, kind in wish["fields"].items()
            if draw(st.integers(0, 9))
        ]
        inner.append({"name": "rest", "type": _type(draw, names, 1)})
        wish = {"type": "record", "name": names.new(), "fields": draw(st.permutations(inner))}
    branches = draw(st.sampled_from([[], ["null"], ["null", "boolean"]]))
    return draw(st.permutations([wish, *branches])) if branches else wish


def _type(draw: st.DrawFn, names: _Names, depth: int, *, maps: bool = True) -> Any:
    kinds = [*_PRIMITIVES, "enum", "fixed", "union", "named"]
    if depth:
        kinds += ["record", "array", "map"] if maps else ["record"]
    kind = draw(st.sampled_from(kinds))
    if kind == "named":
        return draw(st.sampled_from(names.defined)) if names.defined else "long"
    if kind == "enum":
        symbols = ["t", "g", "a_long_symbol"][: draw(st.integers(1, 3))]
        return _define(names, {"type": "enum", "symbols": symbols})
    if kind == "fixed":
        return _define(names, {"type": "fixed", "size": draw(st.integers(1, 20))})
    if kind == "union":
        branches = draw(st.lists(st.sampled_from(_PRIMITIVES), unique=True, max_size=3))
        return draw(st.permutations(["null", *branches]))
    if kind == "array":
        return {"type": "array", "items": _type(draw, names, depth - 1)}
    if kind == "map":
        return {"type": "map", "values": _type(draw, names, depth - 1)}
    if kind == "record":
        inner = [
            {"name": f"f{k}", "type": _type(draw, names, depth - 1)}
            for k in range(draw(st.integers(1, 4)))
        ]
        return _define(names, {"type": "record", "fields": inner})
    return kind


def _define(names: _Names, definition: dict[str, Any]) -> dict[str, Any]:
    definition["name"] = names.new()
    names.defined.append(definition["name"])
    return definition


def encoded(draw: st.DrawFn, avro: Any, named: dict[str, Any]) -> bytes:
    """Return the bytes of a random value of a type; ``named`` gets the types that have names."""
    if isinstance(avro, list):
        index = draw(st.integers(0, len(avro) - 1))
        # Types are defined where they stand first, taken or not.
        bodies = [encoded(draw, branch, named) for branch in avro]
        return long_bytes(index) + bodies[index]
    if isinstance(avro, str):
        return _primitive(draw, avro) if avro not in named else encoded(draw, named[avro], named)
    if "name" in avro:
        named[avro["name"]] = avro
    if avro["type"] == "record":
        return b"".join([encoded(draw, field["type"], named) for field in avro["fields"]])
    if avro["type"] == "enum":
        return long_bytes(draw(st.integers(0, len(avro["symbols"]) - 1)))
    if avro["type"] == "fixed":
        size = avro["size"]
        return draw(st.binary(min_size=size, max_size=size))
    return _blocks(draw, avro, named)


def _blocks(draw: st.DrawFn, avro: dict[str, Any], named: dict[str, Any]) -> bytes:
    """Return an array or map in any number of blocks, with or without their sizes in bytes."""
    out = b""
    kind = avro["items"] if avro["type"] == "array" else avro["values"]
    encoded(draw, kind, named)
    for _ in range(draw(st.integers(0, 2))):
        count = draw(st.integers(1, 3))
        body = b""
        for _ in range(count):
            body += _primitive(draw, "string") if avro["type"] == "map" else b""
            body += encoded(draw, kind, named)
        sized = draw(st.booleans())
        head = long_bytes(-count) + long_bytes(len(body)) if sized else long_bytes(count)
        out += head + body
    return out + b"\0"


def _primitive(draw: st.DrawFn, kind: str) -> bytes:
    if kind == "null":
        return b""
    if kind == "boolean":
        return draw(st.sampled_from([b"\0", b"\1"]))
    if kind in ("int", "long"):
        return long_bytes(draw(_INTS if kind == "int" else _LONGS))
    if kind == "float":
        return struct.pack("<f", draw(st.floats(width=32)))
    if kind == "double":
        return struct.pack("<d", draw(st.floats()))
    data = draw(_TEXTS).encode() if kind == "string" else draw(st.binary(max_size=9))
    return long_bytes(len(data)) + data
