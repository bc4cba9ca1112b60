"""Evaluate a model bundle on a labelled data set, as it serves: features, ONNX Runtime and all.

``tinyt2 evaluate MODEL --data DIR --dataset NAME --out DIR`` writes
``evaluation.json``, ``report.html`` and the figures as PNG. The data set may have
other classes than the model. Of those that both have, all figures are made;
objects of classes that the model lacks measure how well it refuses them; a data
set with one class of the model has a recall and nothing else.

Notation: n alerts, K classes of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.answers import (
    Alerts,
    Answering,
    Answers,
    Carried,
    Served,
    answer,
    everything,
    restricted,
    shared,
)
from models.augment import at_detection, at_last_detection, n_detections, random_detection
from models.datasets import LabelledCurves
from models.errors import ConfigurationError, DataError
from models.evaluate import (
    DAY_SLICES,
    DETECTION_SLICES,
    ECE_BINS,
    at_days,
    compare,
    figures,
)
from models.rejection import rejection_figures
from models.runtime import Classifier
from models.thresholds import rate_above, threshold_at_precision

__all__ = [
    "MOMENTS",
    "Evaluation",
    "EvaluationConfig",
    "Progress",
    "answer_figures",
    "evaluate_bundle",
    "evaluation_summary",
    "moments_of",
]

MOMENTS: Final = ("last_detection", "random_detection")
"""Alerts that are evaluated in full: all that was ever known, and what a stream delivers."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many steps are done and how many there are."""

_HEADLINE: Final = (
    "objects",
    "alerts",
    "log_loss",
    "flat_log_loss",
    "accuracy",
    "macro_f1",
    "macro_recall",
    "macro_auc",
    "macro_average_precision",
    "ece",
)
_PER_CLASS: Final = ("recall", "precision", "average_precision", "auc", "log_loss")


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What is evaluated, and how."""

    bootstrap: int = 500
    """Resamples of objects per interval."""
    seed: int = 0
    """Of random detections and resamples."""
    random_alerts: int = 1
    """Random detections per object."""
    detections: tuple[int, ...] = DETECTION_SLICES
    """Numbers of the detections that are evaluated on their own."""
    days: tuple[float, ...] = DAY_SLICES
    """Days since the first detection that are evaluated on their own."""
    precisions: tuple[float, ...] = (0.6, 0.9)
    """Class-balanced precisions for which thresholds are sought."""
    minimum_detections: tuple[int, ...] = (1, 10)
    """Thresholds are sought and applied for alerts with at least so many detections."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures, and the answers that they come from."""

    result: dict[str, Any]
    """JSON-ready."""
    answers: dict[str, Answers]
    """Of `MOMENTS`."""
    data: LabelledCurves


def evaluate_bundle(
    classifier: Classifier,
    data: LabelledCurves,
    config: EvaluationConfig | None = None,
    against: Answering | None = None,
    thresholds: dict[str, Any] | None = None,
    carried: Carried = everything,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Return all figures of a bundle on a data set.

    ``against`` is another model that answers the same alerts. ``thresholds`` are
    those of an evaluation on another data set (its ``thresholds``), to be applied
    to this one. ``carried`` says what alerts hold of the complete curves.
    `DataError` when no object has a detection, `ConfigurationError` when data and
    model have no class in common.
    """
    config, model = config or EvaluationConfig(), Served(classifier)
    moments = moments_of(data, config)
    steps = len(moments) * (2 if against else 1) + 2
    answers: dict[str, Answers] = {}
    result = _about(model, data, config)
    for done, (name, alerts) in enumerate(moments.items()):
        progress(name.replace("_", " "), done, steps)
        answers[name] = answer(model, data, alerts, carried)
        _check_common(answers[name], data)
        _place(result, name, answer_figures(answers[name], config))
    progress("thresholds and rejection", len(moments), steps)
    result |= _details({name: answers[name] for name in MOMENTS}, data, config, thresholds)
    if against:
        result["against"] = {**against.about, "at_detection": {}, "at_days": {}}
        for done, (name, alerts) in enumerate(moments.items(), len(moments) + 1):
            progress(f"{name.replace('_', ' ')}, other model", done, steps)
            other = answer(against, data, alerts, carried)
            _place(result["against"], name, _compare(answers[name], other, config))
    progress("done", steps, steps)
    return Evaluation(result, {name: answers[name] for name in MOMENTS}, data)


def evaluation_summary(result: dict[str, Any]) -> dict[str, Any]:
    """Return what of an evaluation belongs into a model's card: figures with intervals.

    Everything of the alerts of `MOMENTS` and the rejection; the headline figures of the
    slices by detection, day and survey; of thresholds only what they give for their class.
    """
    summary = {name: result[name] for name in ("data", "mode", "config")}
    summary |= {name: result[name] for name in (*MOMENTS, "restricted", "rejection", "called")}
    for name in ("at_detection", "at_days"):
        summary[name] = {key: _headline(entry) for key, entry in result[name].items()}
    summary["surveys"] = {
        survey: {moment: _headline(entry) for moment, entry in moments.items()}
        for survey, moments in result["surveys"].items()
    }
    summary["thresholds"] = result["thresholds"]
    return {name: entry for name, entry in summary.items() if entry}


def _headline(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in _HEADLINE if name in entry}


def moments_of(data: LabelledCurves, config: EvaluationConfig) -> dict[str, Alerts]:
    """Return the alerts to evaluate by moment; slices are named like ``at_days/7``."""
    count = n_detections(data.curves)
    rows = np.flatnonzero(count)
    if not len(rows):
        raise DataError(f"no object of {data.name} has a detection: nothing would be sent", data)
    rng = np.random.default_rng([config.seed, 5])
    repeated = np.repeat(rows, config.random_alerts)
    some = data.curves.take(rows)
    moments = {
        "last_detection": Alerts(rows, at_last_detection(some)),
        "random_detection": Alerts(repeated, random_detection(data.curves.take(repeated), rng)),
    }
    for number in config.detections:
        rich = np.flatnonzero(count >= number)
        if len(rich):
            trigger = at_detection(data.curves.take(rich), np.full(len(rich), number - 1))
            moments[f"at_detection/{number}"] = Alerts(rich, trigger)
    return moments | {f"at_days/{d:g}": Alerts(rows, at_days(some, d)) for d in config.days}


def _place(result: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Put the figures of a moment where its name says; nothing for slices without alerts."""
    moment, _, key = name.partition("/")
    if key and entry["alerts"]:
        result[moment][key] = entry
    elif not key:
        result[moment] = entry


def _about(model: Answering, data: LabelledCurves, config: EvaluationConfig) -> dict[str, Any]:
    counts = np.bincount(data.label, minlength=len(data.classes))
    present = {name: int(n) for name, n in zip(data.classes, counts, strict=True) if n}
    common = [name for name in model.classes if name in present]
    return {
        "model": {**model.about, "classes": list(model.classes)},
        "data": {
            "name": data.name,
            "objects": present,
            "without_detection": int(np.sum(n_detections(data.curves) == 0)),
            "known_classes": common,
            "unknown_classes": [name for name in present if name not in common],
        },
        "mode": _mode(common, model.classes),
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()},
        "at_detection": {},
        "at_days": {},
    }


def _mode(common: list[str], classes: tuple[str, ...]) -> str:
    if len(common) == 1:
        return f"single class ({common[0]}): recall only"
    if len(common) < len(classes):
        return f"{len(common)} of the {len(classes)} classes of the model"
    return "all classes of the model"


def _check_common(answers: Answers, data: LabelledCurves) -> None:
    if len(answers) and not len(answers.present):
        raise ConfigurationError(
            f"{data.name} has the classes {', '.join(data.classes)}, the model "
            f"{', '.join(answers.classes)}: no alert of a common class",
            data.classes,
        )


def answer_figures(answers: Answers, config: EvaluationConfig) -> dict[str, Any]:
    """Return the figures of the known classes that occur; of one class its recall only."""
    known = answers.known
    empty = {"objects": 0, "alerts": 0, "refused": answers.refused}
    if not len(known):
        return empty
    found = figures(
        known.probabilities,
        known.label,
        known.classes,
        config.bootstrap,
        config.seed,
        known.object_id,
        known.present,
    )
    names = [known.classes[row] for row in known.present]
    kept = {f"{kind}_{name}" for kind in _PER_CLASS for name in names} | set(_HEADLINE)
    if len(names) == 1:
        kept = {"objects", "alerts", f"recall_{names[0]}", f"log_loss_{names[0]}"}
    some = {name: value for name, value in found.items() if name in kept | {"confusion"}}
    return {**empty, **some}


def _details(
    answers: dict[str, Answers],
    data: LabelledCurves,
    config: EvaluationConfig,
    thresholds: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what is told of `MOMENTS` only."""
    return {
        "restricted": {name: found for name, a in answers.items() if (found := _among(a, config))},
        "reliability": {name: _reliability(a.known) for name, a in answers.items()},
        "surveys": _by_survey(answers, config),
        "thresholds": {name: _thresholds(a.known, config) for name, a in answers.items()},
        "applied": {
            name: _apply(a, data, thresholds[name], config)
            for name, a in answers.items()
            if thresholds and name in thresholds
        },
        "rejection": _rejection(answers["random_detection"], data, config),
        "called": {name: _called(a, data) for name, a in answers.items()},
    }


def _among(answers: Answers, config: EvaluationConfig) -> dict[str, Any]:
    """Return the figures given that the class is one of the data set's, where those are fewer."""
    known, present = answers.known, answers.present
    if not 1 < len(present) < len(known.classes):
        return {}
    return figures(
        restricted(known.probabilities, present),
        np.searchsorted(present, known.label),
        [known.classes[row] for row in present],
        config.bootstrap,
        config.seed,
        known.object_id,
    )


def _reliability(known: Answers) -> list[dict[str, float]]:
    """Return, per bin of confidence with alerts, their number, mean confidence and accuracy."""
    confidence = known.probabilities.max(axis=1)
    right = known.probabilities.argmax(axis=1) == known.label
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    mean, hit = (np.bincount(bins, weights=w, minlength=ECE_BINS) for w in (confidence, right))
    return [
        {
            "alerts": int(count[b]),
            "confidence": round(float(mean[b] / count[b]), 5),
            "accuracy": round(float(hit[b] / count[b]), 5),
        }
        for b in np.flatnonzero(count)
    ]


def _by_survey(answers: dict[str, Answers], config: EvaluationConfig) -> dict[str, Any]:
    def told(some: Answers) -> dict[str, Any]:
        # How many were refused is known of all surveys together only.
        found = answer_figures(some, config)
        return {name: value for name, value in found.items() if name != "refused"}

    surveys = sorted({str(name) for a in answers.values() for name in np.unique(a.survey)})
    return {
        survey: {name: told(a.where(a.survey == survey)) for name, a in answers.items()}
        for survey in surveys
    }


def _thresholds(known: Answers, config: EvaluationConfig) -> dict[str, Any]:
    """Return, per least number of detections, class and precision, the threshold or None."""
    if len(known.present) < 2:
        return {}
    return {
        str(number): {
            known.classes[row]: {
                f"{p:g}": _threshold(known.where(known.count >= number), int(row), p, config)
                for p in config.precisions
            }
            for row in known.present
        }
        for number in config.minimum_detections
    }


def _threshold(
    some: Answers, row: int, precision: float, config: EvaluationConfig
) -> dict[str, Any] | None:
    found = threshold_at_precision(some.probabilities[:, row], some.label, row, precision)
    if found is None:
        return None
    own = some.where(some.label == row)
    recall = rate_above(
        own.probabilities[:, row], found.probability, own.object_id, config.bootstrap, config.seed
    )
    return {**asdict(found), "recall": recall}


def _apply(
    answers: Answers, data: LabelledCurves, thresholds: dict[str, Any], config: EvaluationConfig
) -> dict[str, Any]:
    """Return how often alerts of each true class exceed thresholds found on other data."""
    truth = data.label[answers.alerts.curve]
    return {
        number: {
            name: {
                precision: _rates(
                    answers, data, truth, answers.classes.index(name), int(number), cut, config
                )
                for precision, cut in cuts.items()
                if cut is not None
            }
            for name, cuts in by_class.items()
            if name in answers.classes
        }
        for number, by_class in thresholds.items()
    }


def _rates(
    answers: Answers,
    data: LabelledCurves,
    truth: npt.NDArray[np.int64],
    row: int,
    number: int,
    cut: dict[str, Any],
    config: EvaluationConfig,
) -> dict[str, Any]:
    found: dict[str, Any] = {"probability": cut["probability"]}
    for true, name in enumerate(data.classes):
        some = answers.where((truth == true) & (answers.count >= number))
        if len(some):
            found[name] = rate_above(
                some.probabilities[:, row],
                cut["probability"],
                some.object_id,
                config.bootstrap,
                config.seed,
            )
    return found


def _rejection(
    answers: Answers, data: LabelledCurves, config: EvaluationConfig
) -> dict[str, Any] | None:
    known, unknown = answers.known, answers.where(answers.label < 0)
    if not len(known) or not len(unknown):
        return None
    return rejection_figures(
        known.ood_score,
        unknown.ood_score,
        data.label[unknown.alerts.curve],
        data.classes,
        known.object_id,
        unknown.object_id,
        config.bootstrap,
        config.seed,
    )


def _called(answers: Answers, data: LabelledCurves) -> dict[str, dict[str, int]]:
    """Return what alerts of each true class are called, most often first."""
    truth, called = data.label[answers.alerts.curve], answers.probabilities.argmax(axis=1)
    tables = {}
    for true in np.unique(truth):
        counts = np.bincount(called[truth == true], minlength=len(answers.classes))
        rows = [row for row in np.argsort(-counts, kind="stable") if counts[row]]
        tables[data.classes[true]] = {answers.classes[row]: int(counts[row]) for row in rows}
    return tables


def _compare(answers: Answers, other: Answers, config: EvaluationConfig) -> dict[str, Any]:
    """Return the paired comparison on alerts that both answer, among classes that both have."""
    a, b = shared(answers, other)
    found: dict[str, Any] = {"classes": list(a.classes), "objects": 0, "alerts": len(a)}
    if len(a.classes) < 2 or len(a.present) < 2:
        return found
    return found | compare(
        a.probabilities,
        b.probabilities,
        a.label,
        a.classes,
        a.object_id,
        config.bootstrap,
        config.seed,
        a.present,
    )
