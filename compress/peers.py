"""The same network quantized by ONNX Runtime's own tools: rows of the report, not steps.

They quantize activations too, which for networks this small costs more time than it saves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from compress.transfer import TransferSet
from models.bundle import Golden, load_bundle
from models.export import write
from models.runtime import OnnxClassifier, golden_curves

__all__ = ["quantized_by_onnxruntime"]

_LAYERS: Final = ["MatMul", "Gemm"]
_CALIBRATION_PER_CLASS: Final = 20


def quantized_by_onnxruntime(model: Path, transfer: TransferSet, how: str, out: Path) -> Path:
    """Quantize a float32 bundle as ``onnxruntime-dynamic`` or ``-static``; return the new one."""
    bundle = load_bundle(model)
    with TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        _fold(model, before)
        if how == "onnxruntime-dynamic":
            quantize_dynamic(before, after, _LAYERS, weight_type=QuantType.QInt8)
        else:
            # Operators of their own: the runtime here leaves QDQ pairs out (`models.bundle`).
            quantize_static(
                before,
                after,
                _Calibration(transfer),
                QuantFormat.QOperator,
                _LAYERS,
                extra_options={"MatMulConstBOnly": True},
            )
        quantized = onnx.load(after)
    del quantized.metadata_props[:]
    quantized.producer_name = quantized.producer_version = ""
    content = quantized.SerializeToString(deterministic=True)
    changed = {"precision": how, "recipe": f"{bundle.manifest.recipe}, {how}"}
    manifest = bundle.manifest.model_copy(update=changed)
    path = write(content, manifest, bundle.card, out)
    # Their answers hang on the padding: activations are scaled by the batch they are in.
    golden = _served(OnnxClassifier(load_bundle(path)))
    return write(content, manifest.model_copy(update={"golden": golden}), bundle.card, out)


def _served(classifier: OnnxClassifier) -> list[Golden]:
    """Return the golden inputs of a bundle with the answers that it serves."""
    found = []
    for golden in classifier.bundle.manifest.golden:
        answer = classifier.predict(*golden_curves(golden))
        probabilities, score = answer.probabilities[0].tolist(), float(answer.ood_score[0])
        found.append(golden.model_copy(update={"probabilities": probabilities, "ood_score": score}))
    return found


def _fold(model: Path, out: Path) -> None:
    """Compute what depends on weights only: these tools look for constants."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    proto = onnx.load(out)
    for i, node in enumerate(proto.graph.node):
        node.name = f"n{i}"
    onnx.save(proto, out)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Alerts of all classes alike."""

    def __init__(self, transfer: TransferSet) -> None:
        rng = np.random.default_rng(0)
        rows = transfer.balanced(_CALIBRATION_PER_CLASS, 0)
        names = transfer.features.names
        self._batches: Iterator[dict[str, npt.NDArray[Any]]] = iter(
            [
                dict(zip(names, lesson.inputs.arrays, strict=True))
                for lesson in transfer.lessons(rows, 8, rng)
            ]
        )

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """Return the next batch, None at the end."""
        return next(self._batches, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence advice on pre-processing that would not change these graphs."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)
