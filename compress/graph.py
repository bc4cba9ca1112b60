"""Make a graph small: names of a letter or two, no attribute that is a default, no constant twice.

What these cost is most of a file whose weights are a few kilobytes.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from itertools import count, product
from typing import Any, Final

import onnx
from onnx import AttributeProto, defs, helper

__all__ = ["compact", "graph_bytes"]

_LETTERS: Final = string.ascii_letters


def compact(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of a model, with everything left out that changes no answer."""
    version = proto.opset_import[0].version
    _merge_constants(proto.graph)
    for node in proto.graph.node:
        node.name = ""
        _drop_defaults(node, version)
    _rename(proto.graph)
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                size.dim_param = "BLCDEFG"[axis]
    proto.graph.name = "t"
    proto.producer_name, proto.producer_version = "", ""
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def graph_bytes(content: bytes) -> int:
    """Return how much of a file is not the raw data of its weights."""
    tensors = onnx.load_from_string(content).graph.initializer
    return len(content) - sum(len(tensor.raw_data) for tensor in tensors)


def _merge_constants(graph: onnx.GraphProto) -> None:
    """Let equal constants be one, whatever they are called."""
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        name, tensor.name = tensor.name, ""
        key = tensor.SerializeToString(deterministic=True)
        tensor.name = name
        same[name] = first.setdefault(key, name)
        if same[name] == name:
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)


def _drop_defaults(node: onnx.NodeProto, version: int) -> None:
    known = defs.get_schema(node.op_type, version, node.domain).attributes
    kept = [
        attribute
        for attribute in node.attribute
        if _value(known[attribute.name].default_value) != _value(attribute)
    ]
    del node.attribute[:]
    node.attribute.extend(kept)


def _value(attribute: AttributeProto) -> Any:
    if attribute.type == AttributeProto.UNDEFINED:
        return None
    return helper.get_attribute_value(attribute)


def _rename(graph: onnx.GraphProto) -> None:
    fixed = {value.name for value in (*graph.input, *graph.output)} | {""}
    names = (name for name in _names() if name not in fixed)
    short: dict[str, str] = {name: name for name in fixed}
    for item in (*graph.initializer, *graph.node):
        own = [item.name] if isinstance(item, onnx.TensorProto) else list(item.output)
        for name in own:
            if name not in short:
                short[name] = next(names)
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    for node in graph.node:
        for names_of in (node.input, node.output):
            for i, name in enumerate(names_of):
                names_of[i] = short[name]


def _names() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(_LETTERS, repeat=length))
