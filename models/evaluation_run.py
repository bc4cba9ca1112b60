"""Run ``tinyt2 evaluate``: load a model and a data set, evaluate, write the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from models.answers import Answering, Carried, Served, everything
from models.augment import (
    at_last_detection,
    carried_by_alerts,
    n_detections,
    random_detection,
)
from models.baselines import ExtraTrees, fit_extra_trees
from models.bundle import Bundle
from models.datasets import LabelledCurves, load
from models.errors import ConfigurationError
from models.evaluate_bundle import Evaluation, EvaluationConfig, Progress, evaluate_bundle
from models.lightcurve import LightCurves
from models.recipe import DataRecipe
from models.report import write_report
from models.runtime import Predictions, load_classifier
from models.train import load_parts

__all__ = ["EXTRA_TREES", "load_part", "run"]

EXTRA_TREES: Final = "extra-trees"
"""Names the baseline where a bundle could stand."""
_RANDOM_ALERTS: Final = 1
"""Random detections per object that the baseline is fitted to, beside the last."""


def run(
    model: Path,
    dataset: str,
    folder: Path,
    out: Path,
    config: EvaluationConfig | None = None,
    part: str = "all",
    against: Path | str | None = None,
    thresholds_from: Path | None = None,
    as_sent: bool = False,
    console: Console | None = None,
) -> Evaluation:
    """Evaluate a bundle on a data set in a folder and write the report into ``out``.

    ``part`` "objects", "templates" or "validation" takes what the bundle's training left out,
    "all" everything.
    ``against`` is another bundle, or "extra-trees": the baseline, fitted to the training part.
    ``as_sent``: the curves are what alerts carried, not all that was measured.
    ``thresholds_from`` is the ``evaluation.json`` of another data set whose thresholds are
    applied. Raise `BundleError`, `DataError` or `ConfigurationError` for what cannot be read
    or does not fit together.
    """
    console = console or Console()
    classifier = load_classifier(model)
    config = config or EvaluationConfig()
    carried = everything if as_sent else carried_by_alerts(config.seed)
    thresholds = None if thresholds_from is None else _read_thresholds(thresholds_from)
    data, training = load_part(classifier.bundle, dataset, folder, part)
    other: Answering | None = None
    if against == EXTRA_TREES:
        console.print("fitting the baseline ...")
        other = _baseline(training, config.seed, carried)
    elif against is not None:
        other = Served(load_classifier(Path(against)))
    with _bar(console) as progress:
        evaluation = evaluate_bundle(classifier, data, config, other, thresholds, carried, progress)
    evaluation.result["data"] |= {"dataset": dataset, "part": part}
    evaluation.result["warnings"] = _warnings(classifier.bundle, data, part)
    console.print(f"report: {write_report(evaluation, out)}", soft_wrap=True)
    return evaluation


def load_part(
    bundle: Bundle, dataset: str, folder: Path, part: str
) -> tuple[LabelledCurves, LabelledCurves | None]:
    """Return a part, and what was trained on, as the bundle's training divided the data set.

    ``part`` "all" is the whole data set; `ConfigurationError` for a part that there is not.
    """
    if part == "all":
        return load(dataset, folder), None
    told = bundle.card.training.get("recipe")
    if told is None or told["data"]["dataset"] != dataset:
        raise ConfigurationError(
            f"{bundle.path} was not trained on the data set {dataset!r} by tinyt2: "
            "it has no parts for this model, evaluate all of it",
            dataset,
        )
    parts = load_parts(DataRecipe.model_validate(told["data"]), folder, Console(stderr=True))
    known = {"validation": parts.validation, **parts.tests}
    if part not in known:
        raise ConfigurationError(f"no part {part!r}; known: all, {', '.join(known)}", part)
    return known[part], parts.train


@dataclass(frozen=True, slots=True)
class _Trees:
    """The baseline, answering like a bundle."""

    trees: ExtraTrees
    classes: tuple[str, ...]
    training_data: str
    minimum_observations: int = 1

    @property
    def about(self) -> dict[str, Any]:
        return {
            "name": "extra trees on summary features",
            "version": f"scikit-learn {version('scikit-learn')}",
            "sha256": "",
            "training_data": self.training_data,
        }

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Predictions:
        chances = self.trees.predict(curves.take(rows), trigger_mjd[rows])
        return Predictions(chances.astype(np.float32), np.full(len(rows), np.nan, np.float32))


def _baseline(data: LabelledCurves | None, seed: int, carried: Carried) -> _Trees:
    """Fit trees to the last and to random detections of the training part."""
    if data is None:
        raise ConfigurationError(
            f"{EXTRA_TREES} needs a part that it was not fitted to: name one instead of 'all'",
            EXTRA_TREES,
        )
    seen = np.flatnonzero(n_detections(data.curves))
    some = data.curves.take(np.tile(seen, 1 + _RANDOM_ALERTS))
    rng = np.random.default_rng([seed, 6])
    trigger = random_detection(some, rng)
    trigger[: len(seen)] = at_last_detection(data.curves.take(seen))
    label, ids = (np.tile(v[seen], 1 + _RANDOM_ALERTS) for v in (data.label, data.object_id))
    trees = fit_extra_trees(
        carried(some, trigger), trigger, label, len(data.classes), seed, object_id=ids
    )
    return _Trees(trees, data.classes, data.name)


def _warnings(bundle: Bundle, data: LabelledCurves, part: str) -> list[str]:
    if part == "all" and bundle.manifest.training_data == data.name:
        return [
            "The model was trained on some of these objects: its figures here are too good. "
            "Evaluate a part that it was not trained on."
        ]
    if part == "validation":
        return [
            "Choices of the training were made on these objects: figures are a little too good."
        ]
    return []


def _read_thresholds(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        thresholds = found["thresholds"]
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not an evaluation: name an evaluation.json of 'tinyt2 evaluate'", path
        ) from error
    return dict(thresholds)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console) as bar:
        task = bar.add_task("evaluating", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"evaluating: {what}", completed=done, total=total)

        yield progress
