"""Compare networks on the same objects: several seeds, intervals, one table.

A study is a TOML file (those shipped are in ``models/studies``): recipes by row,
how many seeds and how many draws of the held-out part, and the row that the
others are compared with. Every model is trained once and kept in the folder of
the study, so that an interrupted study goes on where it stopped.

Notation: n objects of a test part, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from models.answers import Alerts, Answers, Served, answer
from models.augment import at_detection, at_last_detection, carried_by_alerts, n_detections
from models.datasets import LabelledCurves
from models.evaluate import compare, figures
from models.export import MODEL_NAME
from models.export import replace as write_whole
from models.recipe import Recipe
from models.runtime import load_classifier
from models.train import load_parts, run

__all__ = ["RESULT_NAME", "Study", "run_study"]

RESULT_NAME: Final = "study.json"
_EARLY: Final = (5, 10, 20)
"""Early alerts: those of so many observations with S/N above `_EARLY_SNR`."""
_EARLY_SNR: Final = 3.0
_POINTS: Final = ("log_loss", "flat_log_loss", "macro_f1", "macro_recall", "accuracy", "ece")


@dataclass(frozen=True, slots=True)
class Study:
    """What is compared."""

    title: str
    rows: Mapping[str, Recipe]
    """Name of a row -> how its networks are trained."""
    baseline: str
    """Row that the others are compared with."""
    positive: str | None
    """Class whose ROC-AUC is shown, early alerts included."""
    seeds: Sequence[int]
    draws: Sequence[int]
    """Seeds of the division into parts: each draw holds out other templates or objects."""


def run_study(
    study: Study, data: Path, out: Path, console: Console | None = None
) -> dict[str, Any]:
    """Train what is not there yet, evaluate all, print the table and write ``study.json``."""
    console = console or Console()
    for name, recipe in study.rows.items():
        for variant in _variants(recipe, study):
            folder = _folder(out, name, variant)
            if not (folder / MODEL_NAME).exists():
                console.rule(f"{name}, seed {variant.training.seed}, {variant.data.split_seed}")
                run(variant, data, folder, resume=True, console=console, bootstrap=0)
    answers = {name: _answers(study, name, data, out) for name in study.rows}
    parts = {
        part: _compared(study, {name: found[part] for name, found in answers.items()})
        for part in answers[study.baseline]
    }
    for part, rows in parts.items():
        console.print(_table(study, part, rows))
    result = {
        "title": study.title,
        "seeds": list(study.seeds),
        "draws": list(study.draws),
        "parts": parts,
    }
    write_whole(out / RESULT_NAME, json.dumps(result, indent=2).encode())
    return result


def _variants(recipe: Recipe, study: Study) -> list[Recipe]:
    return [
        recipe.model_copy(
            update={
                "training": recipe.training.model_copy(update={"seed": seed}),
                "data": recipe.data.model_copy(update={"split_seed": draw}),
            }
        )
        for draw in study.draws
        for seed in study.seeds
    ]


def _folder(out: Path, name: str, recipe: Recipe) -> Path:
    return out / name / f"draw-{recipe.data.split_seed}-seed-{recipe.training.seed}"


def _answers(study: Study, name: str, data: Path, out: Path) -> dict[str, Answers]:
    """Return the answers of all networks of a row to the alerts of each part and moment."""
    found: dict[str, list[Answers]] = {}
    for variant in _variants(study.rows[name], study):
        served = Served(load_classifier(_folder(out, name, variant) / MODEL_NAME))
        for part, tested in load_parts(variant.data, data).tests.items():
            draw = variant.data.split_seed
            for moment, alerts in _moments(tested, study.positive is not None).items():
                carried = carried_by_alerts(draw)
                # The same object in another draw is another one: it is resampled on its own.
                own = replace(tested, object_id=tested.object_id + draw * 10**9)
                got = answer(served, own, alerts, carried, detected=False)
                found.setdefault(f"{part}{moment}", []).append(got)
    return {part: _joined(some) for part, some in found.items()}


def _moments(data: LabelledCurves, early: bool) -> dict[str, Alerts]:
    """Return the last alert of every object, and early ones."""
    everything = np.arange(len(data))
    seen = everything[n_detections(data.curves) > 0]
    moments = {"": Alerts(seen, at_last_detection(data.curves.take(seen)))}
    if early:
        curves = data.curves
        bright = replace(curves, detected=curves.flux > _EARLY_SNR * curves.flux_err)
        count = n_detections(bright)
        for number in _EARLY:
            rows = np.flatnonzero(count >= number)
            trigger = at_detection(bright.take(rows), np.full(len(rows), number - 1))
            moments[f", first {number} observations"] = Alerts(rows, trigger)
    return moments


def _joined(some: Sequence[Answers]) -> Answers:
    return replace(
        some[0],
        alerts=Alerts(
            np.concatenate([a.alerts.curve for a in some]),
            np.concatenate([a.alerts.trigger_mjd for a in some]),
        ),
        probabilities=np.concatenate([a.probabilities for a in some]),
        ood_score=np.concatenate([a.ood_score for a in some]),
        label=np.concatenate([a.label for a in some]),
        object_id=np.concatenate([a.object_id for a in some]),
        count=np.concatenate([a.count for a in some]),
        survey=np.concatenate([a.survey for a in some]),
        refused=sum(a.refused for a in some),
    )


def _compared(study: Study, rows: Mapping[str, Answers]) -> dict[str, Any]:
    """Return the figures of each row, over all its networks, and their ratio to the baseline.

    Intervals are by object: the answers of all seeds to one object are resampled together.
    """
    base = rows[study.baseline]
    return {
        name: {
            "figures": figures(a.probabilities, a.label, a.classes, object_id=a.object_id),
            "against": compare(
                a.probabilities, base.probabilities, a.label, a.classes, object_id=a.object_id
            ),
            "log_loss_by_model": _each_log_loss(a, len(study.seeds) * len(study.draws)),
        }
        for name, a in rows.items()
    }


def _each_log_loss(answers: Answers, n_models: int) -> list[float]:
    own = answers.probabilities[np.arange(len(answers)), answers.label]
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(own, 1e-15))
    return [float(part.mean()) for part in np.array_split(losses, n_models)]


def _table(study: Study, part: str, rows: Mapping[str, Any]) -> Table:
    area = f"auc_{study.positive}"
    objects = rows[study.baseline]["figures"]["objects"]
    table = Table(title=f"{study.title}: {part} ({objects:,} objects)", title_justify="left")
    for column in ("network", *(name.replace("_", " ") for name in _POINTS), "log-loss ratio"):
        table.add_column(column)
    if study.positive:
        table.add_column(f"AUC {study.positive}")
        table.add_column("difference")
    for name, row in rows.items():
        cells = [_text(row["figures"][point]) for point in _POINTS]
        cells.append(_text(row["against"]["log_loss_ratio"]))
        if study.positive:
            cells += [_text(row["figures"][area]), _text(row["against"][f"{area}_difference"])]
        table.add_row(name, *cells)
    return table


def _text(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.4f} ({figure['low']:.4f}..{figure['high']:.4f})"
