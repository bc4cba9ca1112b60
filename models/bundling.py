"""From trained weights to a bundle: calibrate, set the threshold, export, write and evaluate.

Training and compression end with the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.augment import carried_by_alerts, random_detection
from models.bundle import load_bundle
from models.calibrate import fit_temperature
from models.card import Making, make_card, make_manifest
from models.errors import ConfigurationError
from models.evaluate_bundle import EvaluationConfig, evaluate_bundle, evaluation_summary
from models.export import check_parity, golden_inputs, to_onnx, write, write_card
from models.feature_sets import FeatureSet
from models.lightcurve import LightCurves
from models.networks import shift_prior
from models.rejection import rejection_threshold
from models.runtime import Classifier, load_classifier
from models.split import Parts
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["Export", "add_evaluation", "calibrate", "write_bundle"]

_KEPT: Final = 0.998
"""Part of the validation alerts that the out-of-distribution threshold must not refuse.

Real alerts differ from simulated ones: more of them lie beyond it (EVALUATION.md)."""
_MEANING: Final = {
    "objects": "objects that nothing was fitted to or chosen on, of templates trained on",
    "templates": "templates (objects, in a class of fewer than four) that nothing was fitted to "
    "or chosen on",
    "validation": "what epoch, temperature and settings were chosen on: slightly too good",
    "intervals": "95 %, bootstrap by object",
}

Export = Callable[[Tiny | T2, FeatureSet], bytes]
"""What turns a network that reads some features into an ONNX file without manifest."""


def write_bundle(network: Tiny | T2, making: Making, out: Path, export: Export = to_onnx) -> Path:
    """Calibrate a trained network, write it with its card, and return the path of the model.

    The card has no evaluation yet. Temperature and biases of the network are changed.
    `BundleError` when the file that ``export`` makes answers otherwise than the network.
    """
    threshold = calibrate(network, making)
    content = export(network, making.features)
    parity = check_parity(network, content, making.features)
    golden = golden_inputs(content, making.features)
    manifest = make_manifest(making, golden, threshold)
    return write(content, manifest, make_card(network, making, manifest, parity), out)


def calibrate(network: Tiny | T2, making: Making) -> float | None:
    """Fit the temperature, shift to the stated mix of classes, return the threshold if any."""
    logits, ood_score = making.validation.scores(network)
    network.temperature.fill_(fit_temperature(logits, making.validation.label))
    classes, mix = making.parts.train.classes, making.model.class_mix
    if unknown := set(mix) - set(classes):
        raise ConfigurationError(f"[model] class_mix: no class {', '.join(unknown)}", mix)
    shift_prior(network, np.array([mix.get(name, 1.0) for name in classes]))
    return rejection_threshold(ood_score, _KEPT) if making.parts.artefacts else None


def add_evaluation(path: Path, parts: Parts, seed: int, bootstrap: int) -> None:
    """Evaluate a bundle, as it serves, on the parts that it was not trained on; into its card."""
    classifier = load_classifier(path)
    config = EvaluationConfig(bootstrap=bootstrap, seed=seed)
    evaluation: dict[str, Any] = {"meaning": _MEANING}
    for name, part in {**parts.tests, "validation": parts.validation}.items():
        found = evaluate_bundle(classifier, part, config, carried=carried_by_alerts(seed))
        evaluation[name] = evaluation_summary(found.result)
    if "test" in parts.artefacts:
        evaluation["artefacts"] = _refusal(classifier, parts.artefacts["test"], seed)
    card = load_bundle(path).card.model_copy(update={"evaluation": evaluation})
    write_card(card, path.parent)


def _refusal(classifier: Classifier, artefacts: LightCurves, seed: int) -> dict[str, Any]:
    """Say what becomes of alerts of no object, at a random detection."""
    trigger = random_detection(artefacts, np.random.default_rng([seed, 8]))
    answers = classifier.predict(carried_by_alerts(seed)(artefacts, trigger), trigger)
    limit = classifier.bundle.manifest.ood_threshold
    return {
        "alerts": len(artefacts),
        "not_classified": float(np.mean(answers.ood_score > (np.inf if limit is None else limit))),
        "class_above_half": float(np.mean(answers.probabilities.max(axis=1) > 0.5)),
    }
