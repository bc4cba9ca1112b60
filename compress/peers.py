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
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from compress.transfer import TransferSet
from models.bundle import load_bundle
from models.export import golden_inputs, write

__all__ = ["quantized_by_onnxruntime"]

_CALIBRATION_PER_CLASS: Final = 20


def quantized_by_onnxruntime(model: Path, transfer: TransferSet, how: str, out: Path) -> Path:
    """Quantize a float32 bundle as ``onnxruntime-dynamic`` or ``-static``; return the new one."""
    bundle = load_bundle(model)
    proto = onnx.load(model)
    del proto.metadata_props[:]
    with TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(proto, before)
        if how == "onnxruntime-dynamic":
            quantize_dynamic(before, after, weight_type=QuantType.QInt8)
        else:
            # Operators of their own: the runtime here leaves QDQ pairs out (`models.bundle`).
            quantize_static(before, after, _Calibration(transfer), QuantFormat.QOperator)
        quantized = onnx.load(after)
    quantized.producer_name = quantized.producer_version = ""
    content = quantized.SerializeToString(deterministic=True)
    golden = golden_inputs(content, bundle.features)
    changed = {"golden": golden, "precision": how, "recipe": f"{bundle.manifest.recipe}, {how}"}
    return write(content, bundle.manifest.model_copy(update=changed), bundle.card, out)


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
