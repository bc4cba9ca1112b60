"""Bytes are counted as one counts them by hand."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.sizes import sizes, stored_bytes
from models.bundle import load_bundle
from models.errors import BundleError
from models.export import write


def test_tensors_are_counted_by_type_wherever_they_stand() -> None:
    """12 floats, 5 int8, 7 uint4 in 4 bytes, and 2 int64 in a Constant."""
    constant = numpy_helper.from_array(np.array([1, 2], np.int64))
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["shape"], value=constant)],
        "counted",
        [],
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [2])],
        [
            numpy_helper.from_array(np.zeros((3, 4), np.float32), "weight"),
            numpy_helper.from_array(np.zeros(5, np.int8), "quantized"),
            helper.make_tensor("indices", TensorProto.UINT4, [7], [1, 2, 3, 4, 5, 6, 7]),
        ],
    )
    counted = stored_bytes(helper.make_model(graph))
    assert counted == {"float": 48, "int8": 5, "uint4": 4, "int64": 16}


def test_the_parts_of_a_bundle_add_up(good: Path) -> None:
    found, bundle = sizes(good), load_bundle(good)
    assert found.parameters == bundle.card.architecture["parameters"]
    assert found.raw_fp32_bytes == 4 * found.parameters
    assert found.file_bytes + found.manifest_bytes == good.stat().st_size
    text = len(bundle.manifest.model_dump_json().encode())
    assert text < found.manifest_bytes < text + 32
    # Buffers that are not trained, as the scales of the channels, are stored beside the parameters.
    proto = onnx.load(good)
    arrays = [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer]
    floats = sum(array.nbytes for array in arrays if array.dtype == np.float32)
    assert found.raw_fp32_bytes < floats <= found.stored["float"] < found.file_bytes
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(good, "model.onnx")
    assert found.zipped_bytes < len(file.getvalue())


def test_a_card_without_parameters_is_refused(good: Path, tmp_path: Path) -> None:
    bundle = load_bundle(good)
    proto = onnx.load(good)
    del proto.metadata_props[:]
    card = bundle.card.model_copy(update={"architecture": {}})
    path = write(proto.SerializeToString(), bundle.manifest, card, tmp_path)
    with pytest.raises(BundleError, match="does not say how many parameters"):
        sizes(path)
