"""The bundled model is what it is said to be: distilled, pruned, quantized, a transformer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from models.bundle import DEPLOYED_MODEL, load_bundle

BUNDLE = load_bundle(DEPLOYED_MODEL)

FEW_BITS = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4}


@pytest.fixture(scope="module")
def graph() -> onnx.GraphProto:
    return inline_local_functions(onnx.load(DEPLOYED_MODEL)).graph


def test_it_attends(graph: onnx.GraphProto) -> None:
    """Latents to tokens, latents to latents: softmax between two products; and one at the end."""
    operators = Counter(node.op_type for node in graph.node)
    blocks = 1 + BUNDLE.card.architecture["latent_blocks"]
    assert operators["Softmax"] == blocks + 1
    made_by = {name: node for node in graph.node for name in node.output}
    read_by = {name: node for node in graph.node for name in node.input}
    attentions = [
        node
        for node in graph.node
        if node.op_type == "Softmax"
        and read_by.get(node.output[0]) is not None
        and read_by[node.output[0]].op_type == "MatMul"
        and made_by[node.input[0]].op_type in ("MatMul", "Where")
    ]
    assert len(attentions) == blocks


def test_every_large_matrix_is_stored_in_eight_bits_or_fewer(graph: onnx.GraphProto) -> None:
    wide = [
        tensor.name
        for tensor in graph.initializer
        if len(tensor.dims) > 1 and np.prod(tensor.dims) >= 256 and tensor.data_type not in FEW_BITS
    ]
    assert wide == []
    stored = sum(
        int(np.prod(t.dims)) for t in graph.initializer if t.data_type in FEW_BITS and t.dims
    )
    assert stored >= 0.8 * BUNDLE.card.architecture["parameters"]


def test_a_third_of_the_parents_parts_is_gone() -> None:
    assert BUNDLE.manifest.parent is not None
    parent, ours = BUNDLE.manifest.parent["shapes"], BUNDLE.card.architecture
    heads, units = ours["heads"], ours["feed_forward"]
    gone = {
        "heads": 1 - sum(heads) / sum(parent["heads"]),
        "latents": 1 - ours["latents"] / parent["latents"],
        "feed_forward": 1 - sum(units) / sum(parent["feed_forward"]),
    }
    assert min(gone.values()) >= 0.3, gone
    assert len(BUNDLE.manifest.parent["sha256"]) == 64
