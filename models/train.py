"""Make a model bundle from labelled light curves: load, train, calibrate, evaluate, export.

``tinyt2 train --data DIR --out DIR`` with the defaults makes the deployed model
from the SPCC training part in a few minutes on one core; the card that it
writes says what came out, ``metrics.csv`` how.
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.calibrate import fit_temperature
from models.card import make_card, make_manifest
from models.datasets import LabelledCurves, load
from models.evaluate import evaluate
from models.export import check_parity, golden_inputs, replace, to_onnx, write
from models.split import split_by_template
from models.tiny import Tiny, curve_logits
from models.trainer import CHECKPOINT_NAME, EpochRecord, TrainConfig, Trainer, torch_threads

__all__ = ["METRICS_NAME", "TrainConfig", "run"]

METRICS_NAME: Final = "metrics.csv"


def run(
    data: Path,
    out: Path,
    config: TrainConfig | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Train a model on the data set in a folder and write its bundle; return its path.

    ``out`` receives ``model.onnx``, ``card.json``, ``metrics.csv`` and
    ``checkpoint.pt``. With ``resume`` the run in ``out`` is taken up where it
    stopped, to the same result. Raise `DataError` when the data is not as its
    loader documents, `ConfigurationError` when the run to resume is another one.
    """
    config, console = config or TrainConfig(), console or Console()
    with torch_threads(config.threads):
        labelled = load(config.dataset, data)
        split = split_by_template(labelled, config.split_seed, config.validation, config.test)
        trainer = Trainer(labelled, split, config)
        out.mkdir(parents=True, exist_ok=True)
        if resume and (out / CHECKPOINT_NAME).exists():
            trainer.resume(out)
        _fit(trainer, out, console)
        model = trainer.best_model()
        model.temperature.fill_(fit_temperature(*trainer.validation_answers(model)))
        console.print("evaluating, with bootstrap intervals ...")
        evaluation = _evaluate(model, labelled, trainer)
        path = _export(model, labelled, trainer, evaluation, out)
    return path


def _fit(trainer: Trainer, out: Path, console: Console) -> None:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("log-loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        epochs = trainer.config.epochs
        task = progress.add_task("training", total=epochs, completed=trainer.epoch, loss="-")
        while not trainer.done:
            started = time.monotonic()
            record = trainer.run_epoch()
            trainer.seconds += time.monotonic() - started
            trainer.save(out)
            _log(trainer.history, out / METRICS_NAME)
            loss = f"{record.train_log_loss:.4f}, validation {record.validation_log_loss:.4f}"
            progress.update(task, completed=trainer.epoch, loss=loss)


def _log(history: list[EpochRecord], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochRecord)])
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    replace(path, text.getvalue().encode())


def _evaluate(model: Tiny, data: LabelledCurves, trainer: Trainer) -> dict[str, Any]:
    config = trainer.config
    parts = {"test": trainer.split.test, "validation": trainer.split.validation}
    evaluation: dict[str, Any] = {
        part: evaluate(
            partial(curve_logits, model),
            data.curves.take(rows),
            data.label[rows],
            data.classes,
            float(model.temperature),
            config.bootstrap,
            config.split_seed,
        )
        for part, rows in parts.items()
    }
    evaluation["meaning"] = {
        "test": "objects that nothing was fitted to or chosen on, of templates trained on",
        "validation": "templates never trained on (objects, in a class of fewer than four "
        "templates); epoch, temperature and settings were chosen on it: "
        "slightly too good",
        "intervals": f"95 %, bootstrap by object, {config.bootstrap} resamples",
    }
    return evaluation


def _export(
    model: Tiny,
    data: LabelledCurves,
    trainer: Trainer,
    evaluation: dict[str, Any],
    out: Path,
) -> Path:
    content = to_onnx(model)
    parity = check_parity(model, content)
    manifest = make_manifest(data, trainer.config, golden_inputs(content))
    card = make_card(model, data, trainer, evaluation, manifest, parity)
    return write(content, manifest, card, out)
