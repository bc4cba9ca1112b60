"""Write a network to ONNX with its weights stored in few bits, unfolded once at load.

The weights enter the exporter as inputs, so that nothing is computed with them ahead: the
file holds the factors of the attention (`models.tiny.Block.attend`), not their products,
which are larger. Then each becomes what is stored of it and the node that unfolds it:

=============  ==============================================================
int8, int4     ``DequantizeLinear(codes, scale of each row)``
uint8, uint4   ``Gather(codebook, Cast(codes))``
float16        one vector of all of them: ``Split(Cast(vector))``
one per row    a matrix with one number in a row: ``OneHot(columns) * numbers``
=============  ==============================================================

ONNX Runtime folds all of it when it opens the file (`models.bundle` sets
``session.disable_quant_qdq``). The same network gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from compress.graph import compact
from compress.rounding import Scheme, scales
from compress.student import Student
from models.bundling import Export
from models.errors import BundleError
from models.export import export_factors
from models.feature_sets import FeatureSet
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["exporter", "stored_onnx"]

_CODES: Final = {
    "int8": (TensorProto.INT8, 8),
    "int4": (TensorProto.INT4, 4),
    "uint8": (TensorProto.UINT8, 8),
    "uint4": (TensorProto.UINT4, 4),
}
_LEAST_SPARSE: Final = 256
"""Elements from which on a matrix with one number in a row is stored as such."""


def exporter(student: Student) -> Export:
    """Return what writes a network, calibrated since, as the student is stored."""
    return lambda network, features: stored_onnx(network, features, student.stored)


def stored_onnx(network: Tiny | T2, features: FeatureSet, stored: Mapping[str, Scheme]) -> bytes:
    """Return the ONNX file, without manifest; `BundleError` if a tensor is not rounded so."""
    proto, tensors = export_factors(network, features)
    graph = proto.graph
    kept = [node for node in graph.input if node.name not in tensors]
    del graph.input[:]
    graph.input.extend(kept)
    unfolding = _Unfolding()
    for name, tensor in tensors.items():
        unfolding.add(name, tensor, stored.get(name, "float32"))
    nodes = [*unfolding.finished(), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(unfolding.initializers)
    return compact(proto)


class _Unfolding:
    """The initializers and nodes that give tensors their values."""

    def __init__(self) -> None:
        self.initializers: list[TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._halves: list[tuple[str, npt.NDArray[np.float32]]] = []

    def add(self, name: str, tensor: Tensor, scheme: Scheme) -> None:
        """Store a tensor under its name."""
        values = tensor.detach().float().numpy()
        if scheme.startswith("int"):
            self._scaled(name, tensor, scheme)
        elif scheme.startswith("uint"):
            self._indexed(name, values, scheme)
        elif scheme == "float16":
            self._half(name, values)
        elif values.ndim == 2 and values.size >= _LEAST_SPARSE and _one_per_row(values):
            self._sparse(name, values)
        else:
            self._constant(name, values)

    def finished(self) -> list[onnx.NodeProto]:
        """Return the nodes, in order."""
        if not self._halves:
            return self._nodes
        together = np.concatenate([values for _, values in self._halves])
        self._constant("halves", together.astype(np.float16))
        self._constant("sizes", np.array([len(values) for _, values in self._halves], np.int64))
        first = [
            helper.make_node("Cast", ["halves"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Split", ["floats", "sizes"], [name for name, _ in self._halves]),
        ]
        return [*first, *self._nodes]

    def _constant(self, name: str, values: npt.NDArray[Any]) -> None:
        self.initializers.append(numpy_helper.from_array(np.asarray(values, order="C"), name))

    def _half(self, name: str, values: npt.NDArray[np.float32]) -> None:
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            raise _not_rounded(name, "float16")
        if values.ndim == 1:
            self._halves.append((name, values))
            return
        self._halves.append((f"{name}:flat", values.ravel()))
        self._constant(f"{name}:shape", np.array(values.shape, np.int64))
        self._nodes.append(helper.make_node("Reshape", [f"{name}:flat", f"{name}:shape"], [name]))

    def _scaled(self, name: str, tensor: Tensor, scheme: Scheme) -> None:
        kind, bits = _CODES[scheme]
        scale = scales(tensor, bits)
        rows = scale.view(-1, *[1] * (tensor.dim() - 1)) if tensor.dim() > 1 else scale
        codes = torch.round(tensor / rows)
        if not torch.equal(codes * rows, tensor):
            raise _not_rounded(name, scheme)
        self._codes(f"{name}:codes", codes.numpy().astype(np.int8), kind, bits)
        inputs = [f"{name}:codes", f"{name}:scale"]
        if tensor.dim() > 1:
            self._half(f"{name}:scale", scale.numpy())
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
        else:
            self._constant(f"{name}:scale", scale.numpy())
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [name]))

    def _indexed(self, name: str, values: npt.NDArray[np.float32], scheme: Scheme) -> None:
        kind, bits = _CODES[scheme]
        book, codes = np.unique(values, return_inverse=True)
        if len(book) > 2**bits:
            raise _not_rounded(name, scheme)
        self._codes(f"{name}:codes", codes.reshape(values.shape).astype(np.uint8), kind, bits)
        self._half(f"{name}:book", book)
        self._nodes += [
            helper.make_node("Cast", [f"{name}:codes"], [f"{name}:index"], to=TensorProto.INT32),
            helper.make_node("Gather", [f"{name}:book", f"{name}:index"], [name]),
        ]

    def _sparse(self, name: str, values: npt.NDArray[np.float32]) -> None:
        columns = np.abs(values).argmax(axis=1)
        self._constant(f"{name}:columns", columns.astype(np.uint8))
        self._constant(f"{name}:numbers", values[np.arange(len(values)), columns][:, None])
        self._constant(f"{name}:width", np.array(values.shape[1], np.int64))
        self._constant(f"{name}:switch", np.array([0, 1], np.float32))
        columns64, ones = f"{name}:columns64", f"{name}:ones"
        inputs = [columns64, f"{name}:width", f"{name}:switch"]
        self._nodes += [
            helper.make_node("Cast", [f"{name}:columns"], [columns64], to=TensorProto.INT64),
            helper.make_node("OneHot", inputs, [ones]),
            helper.make_node("Mul", [ones, f"{name}:numbers"], [name]),
        ]

    def _codes(self, name: str, codes: npt.NDArray[Any], kind: int, bits: int) -> None:
        flat: npt.NDArray[np.uint8] = codes.ravel().view(np.uint8)
        if bits == 4:
            # Two in a byte, the first in the lower half.
            even = np.append(flat, np.zeros(len(flat) % 2, np.uint8)) & 15
            flat = (even[0::2] | even[1::2] << 4).astype(np.uint8)
        self.initializers.append(
            helper.make_tensor(name, kind, codes.shape, flat.tobytes(), raw=True)
        )


def _one_per_row(values: npt.NDArray[np.float32]) -> bool:
    return bool((np.count_nonzero(values, axis=1) <= 1).all()) and values.shape[1] < 256


def _not_rounded(name: str, scheme: str) -> BundleError:
    return BundleError(f"{name} is to be stored as {scheme} but was not rounded to it", name)
