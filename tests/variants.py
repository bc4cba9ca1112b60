"""Other models made from the deployed one: sound, and with other answers or other classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.bundle import DEPLOYED_MODEL, load_bundle
from models.export import golden_inputs, write

__all__ = ["variant"]


def variant(
    folder: Path, version: str, temperature: float = 1.0, classes: Sequence[str] | None = None
) -> Path:
    """Write the deployed model, its temperature multiplied, its answers for some classes only."""
    bundle = load_bundle()
    manifest = bundle.manifest.model_copy(update={"version": version})
    proto = onnx.load(DEPLOYED_MODEL)
    del proto.metadata_props[:]
    scale = _temperature(proto.graph)
    value = numpy_helper.to_array(scale) * np.float32(temperature)
    scale.CopyFrom(numpy_helper.from_array(value, scale.name))
    if classes is not None:
        of = {c.name: (i, c) for i, c in enumerate(manifest.classes)}
        manifest = manifest.model_copy(update={"classes": [of[name][1] for name in classes]})
        _only(proto.graph, [of[name][0] for name in classes])
    content = proto.SerializeToString()
    manifest = manifest.model_copy(update={"golden": golden_inputs(content)})
    card = bundle.card.model_copy(update={"version": version})
    return write(content, manifest, card, folder)


def _temperature(graph: onnx.GraphProto) -> onnx.TensorProto:
    """Return what the last softmax's scores are divided by, whatever it is called."""
    made_by = {name: node for node in graph.node for name in node.output}
    scaled = made_by[made_by["probabilities"].input[0]]
    assert scaled.op_type == "Div"
    temperature: onnx.TensorProto
    (temperature,) = [x for x in graph.initializer if x.name == scaled.input[1]]
    return temperature


def _only(graph: onnx.GraphProto, columns: list[int]) -> None:
    """Let a graph answer for some columns of its scores, in the order given."""
    (softmax,) = [node for node in graph.node if node.output[0] == "probabilities"]
    index = numpy_helper.from_array(np.array(columns), "columns")
    graph.initializer.append(index)
    gather = helper.make_node("Gather", [softmax.input[0], "columns"], ["chosen"], axis=1)
    graph.node.insert(list(graph.node).index(softmax), gather)
    softmax.input[0] = "chosen"
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(columns)
