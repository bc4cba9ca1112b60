"""Say what a trained model is: its manifest for serving and its card for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.bundle import Card, Golden, Manifest, ModelClass
from models.calibrate import softmax
from models.datasets import LabelledCurves
from models.export import library_versions
from models.feature_sets import FeatureSet
from models.features import OBJECT_CHANNELS, model_inputs
from models.lightcurve import BANDS
from models.networks import n_parameters
from models.recipe import ModelRecipe
from models.split import Parts
from models.t2 import T2
from models.taxonomy import class_id
from models.tiny import Tiny
from models.validation import ValidationAlerts

__all__ = ["Making", "make_card", "make_manifest"]

_QUANTILES: Final = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Making:
    """How a model is made."""

    model: ModelRecipe
    parts: Parts
    features: FeatureSet
    validation: ValidationAlerts
    command: str
    """What the manifest says under ``recipe``."""
    training: Mapping[str, Any]
    """What the card says of it beside the data."""
    precision: str = "float32"
    """How the weights are stored."""
    parent: dict[str, Any] | None = None
    """Identity and shapes of the model that it was compressed from."""


def make_manifest(making: Making, golden: list[Golden], ood_threshold: float | None) -> Manifest:
    """Return what serving needs to know of a model. Nothing in it changes from run to run."""
    model, data = making.model, making.parts.train
    return Manifest(
        name=model.name,
        version=model.version,
        classes=[ModelClass(name=name, id=class_id(name)) for name in data.classes],
        bands=[band.key for band in BANDS],
        surveys=model.surveys,
        feature_spec=making.features.spec,
        minimum_observations=model.minimum_observations,
        ood_threshold=ood_threshold,
        length_buckets=list(making.features.lengths),
        precision=making.precision,
        training_data=data.name,
        notice=model.notice,
        recipe=making.command,
        parent=making.parent,
        golden=golden,
    )


def make_card(network: Tiny | T2, making: Making, manifest: Manifest, parity: float) -> Card:
    """Return the card of a trained model, still without sha256 and evaluation."""
    return Card(
        model_sha256="",
        name=manifest.name,
        version=manifest.version,
        notice=manifest.notice,
        architecture={
            "network": f"{type(network).__module__}.{type(network).__name__}",
            **asdict(network.config),
            "parameters": n_parameters(network),
            "temperature": float(network.temperature),
            "largest_difference_of_onnx_and_torch": parity,
        },
        training={**_data(making.parts), **making.training},
        evaluation={},
        drift_reference=_drift_reference(network, making),
        libraries=library_versions(),
    )


def _data(parts: Parts) -> dict[str, Any]:
    named: Mapping[str, LabelledCurves] = {
        "train": parts.train,
        "validation": parts.validation,
        **{f"test: {name}": part for name, part in parts.tests.items()},
    }
    return {
        "data": parts.train.name,
        "objects": {name: _counts(part) for name, part in named.items()},
        "artefacts": {name: len(curves) for name, curves in parts.artefacts.items()},
        "templates_never_trained_on": list(parts.held_out),
    }


def _counts(data: LabelledCurves) -> dict[str, int]:
    counts = np.bincount(data.label, minlength=len(data.classes)).tolist()
    return dict(zip(data.classes, counts, strict=True))


def _drift_reference(network: Tiny | T2, making: Making) -> dict[str, Any]:
    """Describe inputs and answers on the validation alerts, to compare a stream with."""
    alerts = making.validation
    logits, ood_score = alerts.scores(network)
    probabilities = softmax(logits, float(network.temperature))
    classes = making.parts.train.classes
    predicted = np.bincount(logits.argmax(axis=1), minlength=len(classes)) / len(logits)
    inputs = model_inputs(alerts.views, alerts.trigger_mjd)
    objects = np.concatenate([batch.objects for batch in inputs])
    channels = dict(zip(OBJECT_CHANNELS, objects.T.astype(np.float64), strict=True))
    return {
        "alerts": len(logits),
        "quantile_levels": list(_QUANTILES),
        "inputs": {name: _describe(values) for name, values in channels.items()},
        "predicted_fractions": dict(zip(classes, predicted.tolist(), strict=True)),
        "max_probability": _describe(probabilities.max(axis=1)),
        "ood_score": _describe(ood_score.astype(np.float64)),
    }


def _describe(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quantiles": np.quantile(values, _QUANTILES).tolist(),
    }
