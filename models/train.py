"""Make a model bundle from labelled light curves: load, train, calibrate, export, evaluate.

``tinyt2 train RECIPE.toml --data DIR --out DIR``; the recipes in ``models/recipes``
say in their headers how long they take and what comes out.
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.augment import carried_by_alerts, random_detection
from models.bundle import Card, load_bundle
from models.calibrate import fit_temperature
from models.card import make_card, make_manifest
from models.datasets import load
from models.errors import ConfigurationError
from models.evaluate_bundle import EvaluationConfig, evaluate_bundle, evaluation_summary
from models.export import check_parity, golden_inputs, replace, to_onnx, write, write_card
from models.lightcurve import LightCurves
from models.networks import shift_prior
from models.recipe import DataRecipe, Recipe
from models.rejection import rejection_threshold
from models.runtime import Classifier, load_classifier
from models.split import Parts, divide
from models.trainer import CHECKPOINT_NAME, EpochRecord, Trainer, torch_threads

__all__ = ["METRICS_NAME", "load_parts", "run"]

METRICS_NAME: Final = "metrics.csv"
_KEPT: Final = 0.998
"""Part of the validation alerts that the out-of-distribution threshold must not refuse.

Real alerts differ from simulated ones: of those of ZTF that come with tinyt2, about eight in a
hundred lie beyond it, and nineteen beyond that for 0.99."""
_MEANING: Final = {
    "objects": "objects that nothing was fitted to or chosen on, of templates trained on",
    "templates": "templates (objects, in a class of fewer than four) that nothing was fitted to "
    "or chosen on",
    "validation": "what epoch, temperature and settings were chosen on: slightly too good",
    "intervals": "95 %, bootstrap by object",
}


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    resume: bool = False,
    console: Console | None = None,
    bootstrap: int = 500,
) -> Path:
    """Train a model on the data in a folder and write its bundle; return its path.

    ``out`` receives ``model.onnx``, ``card.json``, ``metrics.csv`` and
    ``checkpoint.pt``. With ``resume`` the run in ``out`` is taken up where it
    stopped, to the same result. Raise `DataError` when the data is not as its
    loader documents, `ConfigurationError` when the run to resume is another one.
    """
    console = console or Console()
    with torch_threads(recipe.training.threads):
        parts = load_parts(recipe.data, data)
        trainer = Trainer(parts, recipe)
        out.mkdir(parents=True, exist_ok=True)
        if resume and (out / CHECKPOINT_NAME).exists():
            trainer.resume(out)
        _fit(trainer, out, console)
        path, card = _export(trainer, out)
        console.print("evaluating, with bootstrap intervals ...")
        evaluation = _evaluate(path, trainer, bootstrap)
        write_card(card.model_copy(update={"evaluation": evaluation}), out)
    return path


def load_parts(recipe: DataRecipe, folder: Path) -> Parts:
    """Load or simulate the data of a recipe and divide it."""
    if recipe.dataset == "simulation":
        from models.simulate.parts import simulated_parts

        return simulated_parts(recipe, folder)
    data = load(recipe.dataset, folder)
    if not recipe.redshift:
        data = data.without_redshift()
    return divide(data, recipe)


def _fit(trainer: Trainer, out: Path, console: Console) -> None:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        epochs = trainer.recipe.training.epochs
        task = progress.add_task("training", total=epochs, completed=trainer.epoch, loss="-")
        while not trainer.done:
            started = time.monotonic()
            record = trainer.run_epoch()
            trainer.seconds += time.monotonic() - started
            trainer.save(out)
            _log(trainer.history, out / METRICS_NAME)
            loss = f"{record.train_loss:.4f}, validation {record.validation_log_loss:.4f}"
            progress.update(task, completed=trainer.epoch, loss=loss)


def _log(history: list[EpochRecord], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochRecord)])
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    replace(path, text.getvalue().encode())


def _export(trainer: Trainer, out: Path) -> tuple[Path, Card]:
    """Write the calibrated model of the best epoch with its card, as yet without evaluation."""
    model = trainer.best_model()
    logits, ood_score, label = trainer.validation_answers(model)
    model.temperature.fill_(fit_temperature(logits, label))
    classes, mix = trainer.parts.train.classes, trainer.recipe.model.class_mix
    if unknown := set(mix) - set(classes):
        raise ConfigurationError(f"[model] class_mix: no class {', '.join(unknown)}", mix)
    shift_prior(model, np.array([mix.get(name, 1.0) for name in classes]))
    threshold = rejection_threshold(ood_score, _KEPT) if trainer.parts.artefacts else None
    content = to_onnx(model, trainer.features)
    parity = check_parity(model, content, trainer.features)
    golden = golden_inputs(content, trainer.features)
    manifest = make_manifest(trainer, golden, threshold)
    card = make_card(model, trainer, manifest, parity)
    path = write(content, manifest, card, out)
    return path, load_bundle(path).card


def _evaluate(path: Path, trainer: Trainer, bootstrap: int) -> dict[str, Any]:
    """Evaluate the file that was written, as it serves."""
    classifier = load_classifier(path)
    seed = trainer.recipe.data.split_seed
    config = EvaluationConfig(bootstrap=bootstrap, seed=seed)
    evaluation: dict[str, Any] = {"meaning": _MEANING}
    for name, part in {**trainer.parts.tests, "validation": trainer.parts.validation}.items():
        found = evaluate_bundle(classifier, part, config, carried=carried_by_alerts(seed))
        evaluation[name] = evaluation_summary(found.result)
    if "test" in trainer.parts.artefacts:
        evaluation["artefacts"] = _refusal(classifier, trainer.parts.artefacts["test"], seed)
    return evaluation


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
