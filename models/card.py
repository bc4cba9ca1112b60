"""Say what a trained model is: its manifest for serving and its card for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.bundle import Card, Golden, Manifest, ModelClass
from models.calibrate import softmax
from models.datasets import LabelledCurves
from models.export import library_versions
from models.features import OBJECT_CHANNELS, model_inputs
from models.lightcurve import BANDS
from models.networks import n_parameters
from models.t2 import T2
from models.taxonomy import class_id
from models.tiny import Tiny
from models.trainer import Trainer

__all__ = ["make_card", "make_manifest"]

_QUANTILES: Final = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def make_manifest(trainer: Trainer, golden: list[Golden], ood_threshold: float | None) -> Manifest:
    """Return what serving needs to know of a model. Nothing in it changes from run to run."""
    recipe, data = trainer.recipe, trainer.parts.train
    return Manifest(
        name=recipe.model.name,
        version=recipe.model.version,
        classes=[ModelClass(name=name, id=class_id(name)) for name in data.classes],
        bands=[band.key for band in BANDS],
        surveys=recipe.model.surveys,
        feature_spec=trainer.features.spec,
        minimum_observations=recipe.model.minimum_observations,
        ood_threshold=ood_threshold,
        length_buckets=list(trainer.features.lengths),
        precision="float32",
        training_data=data.name,
        notice=recipe.model.notice,
        recipe=f"tinyt2 train (data set {recipe.data.dataset}, seed {recipe.training.seed})",
        parent=None,
        golden=golden,
    )


def make_card(model: Tiny | T2, trainer: Trainer, manifest: Manifest, parity: float) -> Card:
    """Return the card of a trained model, still without sha256 and evaluation."""
    return Card(
        model_sha256="",
        name=manifest.name,
        version=manifest.version,
        notice=manifest.notice,
        architecture={
            "network": f"{type(model).__module__}.{type(model).__name__}",
            **trainer.recipe.network.model_dump(),
            "parameters": n_parameters(model),
            "temperature": float(model.temperature),
            "largest_difference_of_onnx_and_torch": parity,
        },
        training=_training(trainer),
        evaluation={},
        drift_reference=_drift_reference(model, trainer),
        libraries=library_versions(),
    )


def _training(trainer: Trainer) -> dict[str, Any]:
    parts = trainer.parts
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
        "recipe": trainer.recipe.model_dump(exclude={"model"}),
        "epochs_run": trainer.epoch,
        "epoch_chosen": trainer.best_epoch,
        "wall_time_s": round(trainer.seconds, 1),
    }


def _counts(data: LabelledCurves) -> dict[str, int]:
    counts = np.bincount(data.label, minlength=len(data.classes)).tolist()
    return dict(zip(data.classes, counts, strict=True))


def _drift_reference(model: Tiny | T2, trainer: Trainer) -> dict[str, Any]:
    """Describe inputs and answers on the validation alerts, to compare a stream with."""
    views, trigger, _ = trainer.validation
    logits, ood_score, _ = trainer.validation_answers(model)
    probabilities = softmax(logits, float(model.temperature))
    classes = trainer.parts.train.classes
    predicted = np.bincount(logits.argmax(axis=1), minlength=len(classes)) / len(logits)
    objects = np.concatenate([batch.objects for batch in model_inputs(views, trigger)])
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
