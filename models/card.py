"""Say what a trained model is: its manifest for serving and its card for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import torch

from models.bundle import Card, Golden, Manifest, ModelClass
from models.calibrate import softmax
from models.datasets import LabelledCurves
from models.export import library_versions
from models.features import FEATURE_SPEC, LENGTH_BUCKETS, OBJECT_CHANNELS, model_inputs
from models.lightcurve import BANDS
from models.taxonomy import class_id
from models.tiny import Tiny
from models.trainer import TrainConfig, Trainer

__all__ = ["make_card", "make_manifest"]

_SURVEYS: Final = ("ztf", "lsst")
_MINIMUM_OBSERVATIONS: Final = 3
_QUANTILES: Final = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
_NOTICE: Final = (
    "Trained only on {data}. It accepts ZTF and LSST observations by their wavelength, to show "
    "the whole way from alert to answer; it has never seen a real alert, a variable star, an "
    "active galaxy or an artefact, so its answers on real alerts mean little yet."
)


def make_manifest(data: LabelledCurves, config: TrainConfig, golden: list[Golden]) -> Manifest:
    """Return what serving needs to know of a model. Nothing in it changes from run to run."""
    return Manifest(
        name=config.name,
        version=config.version,
        classes=[ModelClass(name=name, id=class_id(name)) for name in data.classes],
        bands=[band.key for band in BANDS],
        surveys=list(_SURVEYS),
        feature_spec=FEATURE_SPEC,
        minimum_observations=_MINIMUM_OBSERVATIONS,
        length_buckets=list(LENGTH_BUCKETS),
        precision="float32",
        training_data=data.name,
        notice=_NOTICE.format(data=data.name),
        recipe=f"tinyt2 train --data DIR (data set {config.dataset}, seed {config.seed})",
        parent=None,
        golden=golden,
    )


def make_card(
    model: Tiny,
    data: LabelledCurves,
    trainer: Trainer,
    evaluation: dict[str, Any],
    manifest: Manifest,
    parity: float,
) -> Card:
    """Return the card of a trained model, still without the sha256 of its file."""
    return Card(
        model_sha256="",
        name=manifest.name,
        version=manifest.version,
        notice=manifest.notice,
        architecture={
            "network": "models.tiny.Tiny: observation tokens read by latent queries",
            **asdict(model.config),
            "parameters": sum(p.numel() for p in model.parameters()),
            "temperature": float(model.temperature),
            "largest_difference_of_onnx_and_torch": parity,
        },
        training=_training(data, trainer),
        evaluation=evaluation,
        drift_reference=_drift_reference(model, data, trainer),
        libraries=library_versions(),
    )


def _training(data: LabelledCurves, trainer: Trainer) -> dict[str, Any]:
    split = trainer.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    counts = {
        part: np.bincount(data.label[rows], minlength=len(data.classes)).tolist()
        for part, rows in parts.items()
    }
    return {
        "data": data.name,
        "objects": {
            part: dict(zip(data.classes, count, strict=True)) for part, count in counts.items()
        },
        "templates_never_trained_on": list(split.held_out),
        "config": asdict(trainer.config),
        "epochs_run": trainer.epoch,
        "epoch_chosen": trainer.best_epoch,
        "wall_time_s": round(trainer.seconds, 1),
    }


def _drift_reference(model: Tiny, data: LabelledCurves, trainer: Trainer) -> dict[str, Any]:
    """Describe inputs and answers on the validation alerts, to compare a stream with."""
    batches = model_inputs(*trainer.validation)
    objects = np.concatenate([batch.objects for batch in batches]).astype(np.float64)
    logits, _ = trainer.validation_answers(model)
    predicted = np.bincount(logits.argmax(axis=1), minlength=len(data.classes)) / len(logits)
    top = softmax(logits, float(model.temperature)).max(axis=1)
    ood_score = -torch.logsumexp(torch.from_numpy(logits), -1).numpy().astype(np.float64)
    channels = dict(zip(OBJECT_CHANNELS, objects.T, strict=True))
    return {
        "alerts": len(logits),
        "quantile_levels": list(_QUANTILES),
        "inputs": {name: _describe(values) for name, values in channels.items()},
        "predicted_fractions": dict(zip(data.classes, predicted.tolist(), strict=True)),
        "max_probability": _describe(top),
        "ood_score": _describe(ood_score),
    }


def _describe(values: np.typing.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quantiles": np.quantile(values, _QUANTILES).tolist(),
    }
