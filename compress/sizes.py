"""How large a model is: what the network has, what its file stores, and what a zip makes of it.

Three different things. A network of P parameters has 4 P bytes as raw fp32, a file stores
them quantized and the graph beside them, and a zip can be smaller than the file but is not
what a service loads.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper

from models.bundle import Card, load_bundle
from models.errors import BundleError

__all__ = ["Sizes", "sizes", "stored_bytes", "zipped_bytes"]

_HALF_BYTES: Final = {TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}
"""Types of which two elements share a byte."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a bundle in bytes."""

    parameters: int
    """Numbers that the network has; as many after quantization as before."""
    raw_fp32_bytes: int
    """Of the parameters, four bytes each."""
    file_bytes: int
    """Graph and weights: the file without manifest and other metadata."""
    manifest_bytes: int
    zipped_bytes: int
    """Graph and weights, deflated in a zip."""
    stored: dict[str, int]
    """Bytes of the tensors in the file, by their type."""


def sizes(model: Path) -> Sizes:
    """Return the sizes of a bundle; `BundleError` when it is not sound."""
    bundle = load_bundle(model)
    parameters = _parameters(bundle.card, model)
    proto = onnx.load(model)
    stored = stored_bytes(proto)
    del proto.metadata_props[:]
    bare = proto.SerializeToString(deterministic=True)
    return Sizes(
        parameters=parameters,
        raw_fp32_bytes=4 * parameters,
        file_bytes=len(bare),
        manifest_bytes=bundle.n_bytes - len(bare),
        zipped_bytes=zipped_bytes(bare),
        stored=stored,
    )


def stored_bytes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the bytes of the tensors of a model by their type: ``float``, ``int8``, ``uint4``."""
    stored: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        name = TensorProto.DataType.Name(tensor.data_type).lower()
        stored[name] = stored.get(name, 0) + _n_bytes(tensor)
    return stored


def zipped_bytes(content: bytes) -> int:
    """Return the bytes of a zip that holds a file's content and nothing else."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.onnx"), content, zipfile.ZIP_DEFLATED, 9)
    return len(file.getvalue())


def _parameters(card: Card, model: Path) -> int:
    found = card.architecture.get("parameters")
    if not isinstance(found, int):
        raise BundleError(f"the card of {model} does not say how many parameters it has", model)
    return found


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Yield all tensors of a graph: initializers, and constants that stand in its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def _n_bytes(tensor: TensorProto) -> int:
    count = int(math.prod(tensor.dims))
    if tensor.data_type in _HALF_BYTES:
        return (count + 1) // 2
    return count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
