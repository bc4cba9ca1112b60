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
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.bundling import add_evaluation, write_bundle
from models.card import Making
from models.datasets import load
from models.export import replace
from models.optimiser import torch_threads
from models.recipe import DataRecipe, Recipe
from models.split import Parts, divide
from models.trainer import CHECKPOINT_NAME, EpochRecord, Trainer

__all__ = ["METRICS_NAME", "load_parts", "run", "train_on"]

METRICS_NAME: Final = "metrics.csv"


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    resume: bool = False,
    console: Console | None = None,
    bootstrap: int = 500,
    start: Path | None = None,
) -> Path:
    """Train a model on the data in a folder and write its bundle; return its path.

    ``out`` receives ``model.onnx``, ``card.json``, ``metrics.csv`` and
    ``checkpoint.pt``. With ``resume`` the run in ``out`` is taken up where it
    stopped, to the same result. ``start`` is the folder of an earlier run whose
    weights this one begins with: to fine-tune. Raise `DataError` when the data is not as its
    loader documents, `ConfigurationError` when the run to resume is another one.
    """
    return train_on(load_parts(recipe.data, data), recipe, out, resume, console, bootstrap, start)


def train_on(
    parts: Parts,
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    console: Console | None = None,
    bootstrap: int = 500,
    start: Path | None = None,
) -> Path:
    """Train on parts that are loaded, and do all else that `run` does."""
    console = console or Console()
    with torch_threads(recipe.training.threads):
        trainer = Trainer(parts, recipe, start)
        out.mkdir(parents=True, exist_ok=True)
        if resume and (out / CHECKPOINT_NAME).exists():
            trainer.resume(out)
        _fit(trainer, out, console)
        path = write_bundle(trainer.best_model(), _making(trainer), out)
        console.print("evaluating, with bootstrap intervals ...")
        add_evaluation(path, parts, recipe.data.split_seed, bootstrap)
    return path


def load_parts(recipe: DataRecipe, folder: Path, console: Console | None = None) -> Parts:
    """Load or simulate the data of a recipe and divide it; the console shows progress."""
    if recipe.dataset == "simulation":
        from models.simulate.parts import simulated_parts

        return simulated_parts(recipe, folder, console)
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


def _making(trainer: Trainer) -> Making:
    recipe = trainer.recipe
    return Making(
        model=recipe.model,
        parts=trainer.parts,
        features=trainer.features,
        validation=trainer.validation,
        command=f"tinyt2 train (data set {recipe.data.dataset}, seed {recipe.training.seed})",
        training={
            "recipe": recipe.model_dump(exclude={"model"}),
            "epochs_run": trainer.epoch,
            "epoch_chosen": trainer.best_epoch,
            "wall_time_s": round(trainer.seconds, 1),
        },
    )
