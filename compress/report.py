"""The report of a compression: one row per model, and everything beside the teacher.

``report.json`` for programs, ``report.html`` for people: a page that needs nothing beside it.
All models answer the same alerts of objects that none was trained on, and are timed in one run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from compress.changes import BOOTSTRAP, Changes, changes
from compress.page import write_page
from compress.sizes import sizes
from compress.speed import speeds
from models.answers import Answers, Served, answer
from models.augment import carried_by_alerts
from models.datasets import LabelledCurves
from models.errors import ConfigurationError
from models.evaluate_bundle import EvaluationConfig, answer_figures, moments_of
from models.export import replace
from models.features import LENGTH_BUCKETS
from models.machine import machine
from models.runtime import OnnxClassifier, load_classifier

__all__ = ["RESULT_NAME", "ReportConfig", "Stage", "report"]

RESULT_NAME = "report.json"

Found = dict[str, dict[str, Answers]]
"""Answers by part and moment."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A model of the report."""

    name: str
    path: Path
    kind: Literal["stage", "twin", "variant", "peer"] = "stage"
    """Of the chain; a small network of its own; the same one stored or run otherwise; another."""


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """How the models are measured."""

    bootstrap: int = BOOTSTRAP
    """Resamples of objects per interval."""
    seed: int = 0
    """Of random alerts and resamples."""
    rounds: int = 15
    """How often each time is taken."""
    lengths: tuple[int, ...] = LENGTH_BUCKETS
    """Observations per curve that times are taken for."""
    command: str = ""
    """What makes this report again."""

    @property
    def evaluation(self) -> EvaluationConfig:
        """Return the same for `models.evaluate_bundle`: alerts without slices."""
        return EvaluationConfig(self.bootstrap, self.seed, detections=(), days=())


def report(
    stages: Sequence[Stage],
    tested: Mapping[str, LabelledCurves],
    out: Path,
    config: ReportConfig | None = None,
    console: Console | None = None,
) -> Path:
    """Measure models on parts of a data set, write both files into ``out``, return the page.

    The first is the teacher that the others are compared with; those beside the chain are
    compared with its last stage too. `ConfigurationError` when there is no stage or two models
    have one name; `BundleError` and `DataError` as those who read them.
    """
    config, console = config or ReportConfig(), console or Console(stderr=True)
    names = [stage.name for stage in stages]
    if not any(s.kind == "stage" for s in stages) or len(set(names)) < len(names):
        raise ConfigurationError(f"a report needs models with different names, not {names}", names)
    last = [stage.name for stage in stages if stage.kind == "stage"][-1]
    models = {stage.name: load_classifier(stage.path) for stage in stages}
    taken = speeds({s.name: s.path for s in stages}, config.rounds, config.lengths, console)
    rows = [
        {"name": s.name, "kind": s.kind, **_about(models[s.name]), "sizes": asdict(sizes(s.path))}
        for s in stages
    ]
    with _bar(console) as progress:
        teacher, ours = (_answers(models[name], tested, config) for name in (names[0], last))
        for row in progress.track(rows, description="evaluating"):
            found = _answers(models[row["name"]], tested, config)
            row["speed"] = [asdict(speed) for speed in taken[row["name"]]]
            row["figures"] = {
                part: {moment: answer_figures(a, config.evaluation) for moment, a in some.items()}
                for part, some in found.items()
            }
            row["against_teacher"] = _against(teacher, found, config)
            if row["kind"] != "stage":
                row["against_result"] = _against(ours, found, config)
    result = {
        "title": f"{last} from {names[0]}",
        "command": config.command,
        "machine": machine(),
        "config": {"bootstrap": config.bootstrap, "seed": config.seed, "rounds": config.rounds},
        "parts": {part: {"data": d.name, "objects": len(d)} for part, d in tested.items()},
        "stages": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, allow_nan=False)
    replace(out / RESULT_NAME, text.encode() + b"\n")
    return write_page(result, out)


def _about(model: OnnxClassifier) -> dict[str, Any]:
    bundle = model.bundle
    return {
        "sha256": bundle.sha256,
        "precision": bundle.manifest.precision,
        "made_by": bundle.manifest.recipe,
        "classes": [known.name for known in bundle.manifest.classes],
    }


def _answers(
    model: OnnxClassifier, tested: Mapping[str, LabelledCurves], config: ReportConfig
) -> Found:
    carried = carried_by_alerts(config.seed)
    return {
        part: {
            moment: answer(Served(model), data, alerts, carried)
            for moment, alerts in moments_of(data, config.evaluation).items()
        }
        for part, data in tested.items()
    }


def _against(before: Found, found: Found, config: ReportConfig) -> dict[str, Any]:
    return {
        part: {
            moment: _change(changes(before[part][moment], a, config.bootstrap, config.seed))
            for moment, a in some.items()
        }
        for part, some in found.items()
    }


def _change(found: Changes) -> dict[str, Any]:
    """Return the paired differences: losses, recall of each class, and the worst of these."""
    recalls = {name: found.recall(name).difference for name in found.counts}
    return {
        "alerts": found.alerts,
        "objects": found.objects,
        "agreement": round(found.agreement, 5),
        **{
            f"{name}_difference": found.figures[name].difference
            for name in ("log_loss", "flat_log_loss", "ece")
        },
        "recall_difference": recalls,
        "worst_class": found.worst_class,
        "worst_recall_difference": recalls[found.worst_class],
    }


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)
