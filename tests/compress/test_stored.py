"""The file holds codes, unfolds to exactly the trained weights, and ONNX Runtime folds it all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from compress.functions import DOMAIN
from compress.graph import graph_bytes
from compress.rounding import Scheme
from compress.sizes import stored_bytes
from compress.stored import stored_onnx
from compress.student import Student, baked, constrained, schemes
from models.errors import BundleError
from models.export import check_parity, to_onnx
from models.feature_sets import ObservationTokens, ProcessGrid
from models.networks import n_parameters
from models.t2 import T2, T2Config
from models.tiny import Tiny, TinyConfig
from tests.models.supernovae import random_curves

TOKENS = ObservationTokens()
MIXED: dict[str, Scheme] = {"head.weight": "uint4", "*.feed_forward.*.weight": "int4"}


def student(weights: Scheme, tensors: dict[str, Scheme] | None = None) -> Student:
    torch.manual_seed(1)
    network = Tiny(TinyConfig(3, 16, 4, (3, 2), head_size=4, feed_forward=(20, 24), rejects=True))
    curves, trigger = random_curves([20] * 40, seed=5)
    network.standardise(TOKENS.inputs(curves, trigger))
    small: Scheme = "float32" if weights == "float32" else "float16"
    stored = schemes(network, weights, small, tensors or {})
    return Student(baked(constrained(Student(network, stored))), stored)


@pytest.fixture(scope="module", params=["float32", "uint8", "mixed"])
def written(request: pytest.FixtureRequest) -> tuple[Student, bytes]:
    made = student("int8", MIXED) if request.param == "mixed" else student(request.param)
    return made, stored_onnx(made.network, TOKENS, made.stored)


def optimised(content: bytes, path: Path) -> onnx.ModelProto:
    """Return the graph that a session with the settings of `models.bundle` runs."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def test_it_answers_as_the_network_at_every_length(written: tuple[Student, bytes]) -> None:
    assert check_parity(written[0].network, written[1]) <= 1e-5


def test_nothing_is_unfolded_after_load(written: tuple[Student, bytes], tmp_path: Path) -> None:
    """The session runs the same operators as that of a file with folded fp32 weights."""
    made, content = written
    found = Counter(n.op_type for n in optimised(content, tmp_path / "stored.onnx").graph.node)
    plain = optimised(to_onnx(made.network), tmp_path / "plain.onnx")
    assert found == Counter(n.op_type for n in plain.graph.node)
    assert not found.keys() & {"DequantizeLinear", "Cast", "OneHot", "MatMulNBits"}
    assert found["Gather"] <= 1  # the output that tells artefacts


def test_the_stored_weights_unfold_to_exactly_the_trained_ones() -> None:
    """Tensor for tensor, to the bit."""
    made = student("int8", MIXED)
    content = stored_onnx(made.network, TOKENS, made.stored)
    proto = inline_local_functions(onnx.load_from_string(content))
    unfolding = ("DequantizeLinear", "Gather", "Mul", "Split")
    outputs = [
        name
        for node in proto.graph.node
        for name in node.output
        if node.op_type in unfolding and name
    ]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    curves, trigger = random_curves([8])
    feed = dict(zip(TOKENS.names, TOKENS.inputs(curves, trigger)[0].arrays, strict=True))
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = [np.asarray(value) for value in session.run(None, feed)]
    for name, tensor in made.network.state_dict().items():
        if made.stored.get(name) or name == "spread":
            wanted = tensor.numpy()
            assert any(v.shape == wanted.shape and np.array_equal(v, wanted) for v in values), name


def test_what_was_not_rounded_is_refused() -> None:
    network = student("float32").network
    with pytest.raises(BundleError, match=r"embed\.0\.weight is to be stored as uint4"):
        stored_onnx(network, TOKENS, {"embed.0.weight": "uint4"})
    with pytest.raises(BundleError, match=r"read\.query\.weight is to be stored as int8"):
        stored_onnx(network, TOKENS, {"read.query.weight": "int8"})


def test_the_graph_is_small_and_carries_no_traces(written: tuple[Student, bytes]) -> None:
    assert graph_bytes(written[1]) <= 4300
    for trace in (b"site-packages", b".py", b"pytorch", b"embed"):
        assert trace not in written[1]


def test_the_network_of_the_smallest_recipe_fits_its_budget() -> None:
    """With random weights; the heads of blocks may differ in number, which functions bear."""
    for heads in ((4, 4), (5, 3)):
        torch.manual_seed(1)
        config = TinyConfig(14, 16, 6, heads, head_size=4, feed_forward=(32, 28), rejects=True)
        network = Tiny(config).eval()
        stored = schemes(network, "uint4", "float16", {"embed.*.weight": "int8"})
        made = Student(baked(constrained(Student(network, stored))), stored)
        content = stored_onnx(made.network, TOKENS, stored)
        assert check_parity(made.network, content) <= 1e-5
        assert len(content) <= 10_053
        assert graph_bytes(content) <= 4300


def test_functions_hold_what_repeats_and_nothing_else(written: tuple[Student, bytes]) -> None:
    """Each is called at least twice; put back they are the same operators as without them."""
    proto = onnx.load_from_string(written[1])
    calls = Counter(node.op_type for node in proto.graph.node if node.domain == DOMAIN)
    assert calls.keys() == {function.name for function in proto.functions}
    assert min(calls.values()) >= 2
    inlined = inline_local_functions(proto)
    assert not any(node.domain for node in inlined.graph.node)
    assert len(inlined.SerializeToString()) > len(written[1])


def test_matrices_take_few_bits_and_the_same_network_gives_the_same_file() -> None:
    made = student("int8", MIXED)
    content = stored_onnx(made.network, TOKENS, made.stored)
    assert stored_onnx(made.network, TOKENS, made.stored) == content
    proto = onnx.load_from_string(content)
    large = [t for t in proto.graph.initializer if np.prod(t.dims) >= 256]
    few = {TensorProto.INT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.UINT8}
    halves = [t for t in large if t.data_type not in few]
    assert all(len(t.dims) == 1 and t.data_type == TensorProto.FLOAT16 for t in halves)
    assert len(halves) <= 1  # biases, norms and scales, side by side
    assert sum(stored_bytes(proto).values()) < 1.3 * n_parameters(made.network)
    operators = Counter(node.op_type for node in inline_local_functions(proto).graph.node)
    assert operators["Softmax"] == 3
    assert operators["MatMul"] >= 8


def test_another_network_can_be_stored_too() -> None:
    torch.manual_seed(0)
    grid = ProcessGrid(("lsst:g", "lsst:r"))
    network = T2(T2Config(2, 3)).eval()
    curves, trigger = random_curves([20] * 10, seed=5)
    network.standardise(grid.inputs(curves, trigger))
    stored = schemes(network, "int8", "float16", {})
    made = Student(baked(constrained(Student(network, stored))), stored)
    content = stored_onnx(made.network, grid, stored)
    assert check_parity(made.network, content, grid) <= 1e-5
    constants = 4 * network.position.numel()
    assert len(content) - constants < 1.3 * n_parameters(network)
