"""Make a graph small: short names, no attribute that is a default, no constant or run twice.

What these cost is most of a file whose weights are a few kilobytes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from compress.functions import extract_functions, short_names

__all__ = ["compact", "graph_bytes"]


def compact(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of a model, with everything left out that changes no answer."""
    version = proto.opset_import[0].version
    _merge_constants(proto.graph)
    _clear_texts(proto)
    for node in proto.graph.node:
        _drop_defaults(node, version)
    _drop_allowzero(proto.graph)
    _rename(proto.graph)
    extract_functions(proto)
    _rename(proto.graph)  # some of the values are in functions now
    for tensor in proto.graph.initializer:
        _pack(tensor)
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                size.dim_param = "BLCDEFG"[axis]
    proto.graph.name = "t"
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def graph_bytes(content: bytes) -> int:
    """Return how much of a file is not the raw data of its weights."""
    tensors = onnx.load_from_string(content).graph.initializer
    return len(content) - sum(len(tensor.raw_data) for tensor in tensors)


def _clear_texts(proto: onnx.ModelProto) -> None:
    """Drop what is there to be read; an empty text that is set takes two bytes too."""
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        proto.ClearField(field)
    graph = proto.graph
    for item in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("doc_string")
    for node in graph.node:
        node.ClearField("name")
        if not node.domain:
            node.ClearField("domain")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")


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


def _drop_allowzero(graph: onnx.GraphProto) -> None:
    """Let shapes without a zero not say what a zero would mean."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and numpy_helper.to_array(shape).all():
            del node.attribute[:]


def _pack(tensor: TensorProto) -> None:
    """Write whole numbers in as many bytes as they need, where that is fewer."""
    if tensor.data_type == TensorProto.INT64:
        numbers = numpy_helper.to_array(tensor).ravel().tolist()
        packed = helper.make_tensor(tensor.name, TensorProto.INT64, tensor.dims, numbers)
        if packed.ByteSize() < tensor.ByteSize():
            tensor.CopyFrom(packed)


def _rename(graph: onnx.GraphProto) -> None:
    """Give values short names, the shortest to those that are named most often."""
    fixed = {value.name for value in (*graph.input, *graph.output)} | {""}
    used = Counter(tensor.name for tensor in graph.initializer)
    for node in graph.node:
        used.update((*node.input, *node.output))
    names = (name for name in short_names() if name not in fixed)
    short = {name: name for name in fixed}
    short |= {name: next(names) for name, _ in used.most_common() if name not in fixed}
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    for node in graph.node:
        for names_of in (node.input, node.output):
            names_of[:] = [short[name] for name in names_of]
