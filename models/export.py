"""Write a trained network as a bundle: ``model.onnx`` and ``card.json``.

The same weights give the same bytes: what the exporter adds for debugging
(source paths, stack traces, names of the building process) is removed.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.bundle import (
    CARD_NAME,
    MANIFEST_KEY,
    MAX_MANIFEST_BYTES,
    OUTPUT_NAMES,
    Card,
    Golden,
    Manifest,
    open_session,
)
from models.errors import BundleError
from models.feature_sets import FeatureSet, Inputs, ObservationTokens
from models.features import LENGTH_BUCKETS
from models.lightcurve import BANDS, DETECTION, FORCED, LightCurves
from models.runtime import golden_curves

__all__ = [
    "MODEL_NAME",
    "check_parity",
    "export_factors",
    "export_graph",
    "golden_inputs",
    "library_versions",
    "replace",
    "to_onnx",
    "write",
    "write_card",
]

MODEL_NAME: Final = "model.onnx"
_OPSET: Final = 20
_FACTORS_OPSET: Final = 21
"""The first with types of four bits."""
_TOLERANCES: Final = (1e-5, 1e-4)
"""Of probabilities and scores."""
_BATCHES: Final = (1, 7)
_TOKENS: Final = ObservationTokens()
_LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "onnxscript", "scikit-learn", "torch")


def to_onnx(model: nn.Module, features: FeatureSet = _TOKENS) -> bytes:
    """Export a network that reads ``features`` to ONNX; deterministic bytes.

    The axes that the features give a name instead of a size may have any.
    """
    example = _random_inputs(features, np.random.default_rng(0), 3, 16)
    arrays = dict(zip(features.names, example.arrays, strict=True))
    dynamic = dict(zip(features.names, _dynamic(features), strict=True))
    return export_graph(model, arrays, OUTPUT_NAMES, dynamic)


def export_factors(
    model: nn.Module, features: FeatureSet = _TOKENS
) -> tuple[onnx.ModelProto, dict[str, Tensor]]:
    """Export a network whose parameters and buffers are inputs of the graph, by their names.

    Nothing is computed with them ahead. Return them too, those that the graph reads.
    """
    tensors = {n: t.detach() for n, t in (*model.named_parameters(), *model.named_buffers())}
    example = _random_inputs(features, np.random.default_rng(0), 3, 16)
    arguments = ([torch.from_numpy(x) for x in example.arrays], list(tensors.values()))
    with _quiet():
        program = torch.onnx.export(
            _Functional(model.eval(), tuple(tensors)).eval(),
            arguments,
            dynamo=True,
            opset_version=_FACTORS_OPSET,
            input_names=[*features.names, *tensors],
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=(_dynamic(features), [{} for _ in tensors]),
            verbose=False,
        )
    if program is None:
        raise BundleError("torch exported no ONNX program")
    proto = _strip(program.model_proto)
    read = {name for node in proto.graph.node for name in node.input}
    return proto, {name: tensor for name, tensor in tensors.items() if name in read}


class _Functional(nn.Module):
    """A network as a function of its inputs and tensors."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        # In a tuple it is no submodule: its tensors are arguments, not constants.
        self._network, self._names = (network,), names

    def forward(self, inputs: list[Tensor], tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
        named = dict(zip(self._names, tensors, strict=True))
        probabilities, ood_score = functional_call(self._network[0], named, tuple(inputs))
        return probabilities, ood_score


def _dynamic(features: FeatureSet) -> list[dict[int, Any]]:
    """Return which axes of the inputs may have any size: those with a name instead of one."""
    named = {size for shape in features.shapes for size in shape if isinstance(size, str)}
    sizes = {name: torch.export.Dim(name) for name in sorted(named)}
    return [
        {i: sizes[size] for i, size in enumerate(shape) if isinstance(size, str)}
        for shape in features.shapes
    ]


def export_graph(
    model: nn.Module,
    example: Mapping[str, npt.NDArray[Any]],
    output_names: Sequence[str],
    dynamic: Mapping[str, Mapping[int, torch.export.Dim]],
) -> bytes:
    """Export any network to ONNX; deterministic bytes.

    ``example`` holds one array per input, in the order of ``forward`` and under
    its argument names; ``dynamic`` says which of their axes may have any length
    (give those at least 2 in the example).
    """
    with _quiet():
        program = torch.onnx.export(
            model.eval(),
            tuple(torch.from_numpy(x) for x in example.values()),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(example),
            output_names=list(output_names),
            dynamic_shapes={name: dict(axes) for name, axes in dynamic.items()},
            verbose=False,
        )
    if program is None:
        raise BundleError("torch exported no ONNX program")
    return _serialise(_strip(program.model_proto))


def check_parity(model: nn.Module, content: bytes, features: FeatureSet = _TOKENS) -> float:
    """Return the largest difference of the probabilities of the ONNX file and the network.

    Raise above 1e-5, or when scores differ by more than 1e-4, those beyond 1 relative to their
    size. The network answers in float64, so that the file is not charged with torch's own
    rounding. Compared are answers at every length bucket for 1 and 7 random curves, one of them
    without observations.
    """
    session = open_session(content)
    exact = copy.deepcopy(model).double().eval()
    rng = np.random.default_rng(1)
    worst = np.zeros(len(_TOLERANCES))
    for length in LENGTH_BUCKETS:
        for batch in _BATCHES:
            inputs = _random_inputs(features, rng, batch, length)
            tensors = [torch.from_numpy(x) for x in inputs.arrays]
            with torch.inference_mode():
                expected = exact(*(t.double() if t.is_floating_point() else t for t in tensors))
            got = _answers(session, features, inputs)
            for i, (want, have) in enumerate(zip(expected, got, strict=True)):
                difference = np.abs(want.numpy() - have) / np.maximum(1, np.abs(have))
                worst[i] = np.maximum(worst[i], difference.max())  # NaN stays
    # Written so that NaN fails too.
    if not np.all(worst <= _TOLERANCES):
        raise BundleError(
            f"the exported file differs from the network by {worst[0]:.2g} in probabilities and "
            f"{worst[1]:.2g} in scores",
            worst.tolist(),
        )
    return float(worst[0])


def golden_inputs(content: bytes, features: FeatureSet = _TOKENS) -> list[Golden]:
    """Return two made-up light curves with the answers of an exported model.

    A ZTF transient that rises and falls, and an LSST one in its first days. They
    follow formulas, not data: a bundle may be passed on freely.
    """
    session = open_session(content)
    return [_answer(session, features, golden) for golden in (_ztf_curve(), _lsst_curve())]


def write(content: bytes, manifest: Manifest, card: Card, folder: Path) -> Path:
    """Put the manifest into an exported model and write it with its card into a folder.

    Each file appears whole or not at all. ``card.model_sha256`` is set to the
    sha256 of the file. Return the path of the model.
    """
    text = manifest.model_dump_json()
    if len(text.encode()) > MAX_MANIFEST_BYTES:
        raise BundleError(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes", len(text))
    proto = onnx.load_from_string(content)
    proto.metadata_props.add(key=MANIFEST_KEY, value=text)
    complete = _serialise(proto)
    card = card.model_copy(update={"model_sha256": hashlib.sha256(complete).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / MODEL_NAME, complete)
    write_card(card, folder)
    return folder / MODEL_NAME


def write_card(card: Card, folder: Path) -> None:
    """Write the card beside its model."""
    replace(folder / CARD_NAME, card.model_dump_json(indent=2).encode() + b"\n")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a model and its file."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch 2.13 says about itself while it exports."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    # "torchvision is not installed": it is not needed.
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", ".*axis name: .* will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _strip(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    graph.name, graph.doc_string = "tinyt2", ""
    del graph.value_info[:]
    for item in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
    return proto


def _serialise(proto: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _random_inputs(
    features: FeatureSet, rng: np.random.Generator, batch: int, length: int
) -> Inputs:
    """Return the inputs of random curves of up to a length, the second without observations."""
    counts = rng.integers(1, length + 1, batch)
    counts[0], counts[1:2] = length, 0
    m = int(counts.sum())
    detected = rng.random(m) < 0.5
    curves = LightCurves.from_observations(
        curve=np.repeat(np.arange(batch), counts),
        mjd=60000 + rng.uniform(0, 200, m),
        band=rng.integers(0, len(BANDS), m).astype(np.uint8),
        flux=rng.normal(0, 3000, m).astype(np.float32),
        flux_err=rng.uniform(100, 1000, m).astype(np.float32),
        rank=np.where(detected, DETECTION, FORCED).astype(np.uint8),
        n_curves=batch,
    )
    return features.batch(curves, np.full(batch, 60200.0), np.arange(batch))


def _answers(
    session: ort.InferenceSession, features: FeatureSet, inputs: Inputs
) -> list[npt.NDArray[np.float32]]:
    feed = dict(zip(features.names, inputs.arrays, strict=True))
    answers: list[npt.NDArray[np.float32]] = session.run(OUTPUT_NAMES, feed)
    return answers


def _answer(session: ort.InferenceSession, features: FeatureSet, golden: Golden) -> Golden:
    inputs = features.batch(*golden_curves(golden), np.zeros(1, np.int64))
    probabilities, ood_score = _answers(session, features, inputs)
    return golden.model_copy(
        update={"probabilities": probabilities[0].tolist(), "ood_score": float(ood_score[0])}
    )


def _ztf_curve() -> Golden:
    # A limit, then g and r by turns: up for ten days, down slowly, as a supernova.
    days = [-14.0, -9.0, -8.9, -5.0, -4.9, 0.0, 0.1, 6.0, 15.0, 15.1]
    band = ["ztf:g", *["ztf:g", "ztf:r"] * 3, "ztf:r", "ztf:g", "ztf:r"]
    fall = {"ztf:g": 14.0, "ztf:r": 24.0}
    flux = [
        60000.0 * float(np.exp(t / 5.0 if t < 0 else -t / fall[b]))
        for t, b in zip(days, band, strict=True)
    ]
    flux[0] = 0.0
    return _golden(60000.0, days, band, flux, [False] + [True] * 9)


def _lsst_curve() -> Golden:
    # Two faint forced fluxes, then a rise that turns redder.
    days = [-20.0, -19.96, -3.0, -2.96, 0.0, 0.02, 2.0, 2.04]
    band = ["lsst:r", "lsst:i", "lsst:g", "lsst:r", "lsst:g", "lsst:i", "lsst:r", "lsst:z"]
    flux = [-150.0, 90.0, 2100.0, 2600.0, 3900.0, 3300.0, 5200.0, 4100.0]
    return _golden(60500.0, days, band, flux, [False, False] + [True] * 6)


def _golden(
    mjd: float, days: list[float], band: list[str], flux: list[float], detected: list[bool]
) -> Golden:
    return Golden(
        trigger_mjd=mjd + days[-1],
        mjd=[mjd + t for t in days],
        band=band,
        flux=[round(f, 1) for f in flux],
        flux_err=[round(0.05 * max(flux), 1)] * len(days),
        detected=detected,
        probabilities=[],
        ood_score=0.0,
    )


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
