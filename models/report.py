"""Write an evaluation for people: one HTML page with its figures, and for programs.

The page needs nothing beside it: figures are embedded, and lie next to it as PNG
as well. matplotlib is imported only when a report is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.evaluate_bundle import MOMENTS, Evaluation
from models.page import image, interval, page, row, section, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EVALUATION_NAME", "REPORT_NAME", "write_report"]

EVALUATION_NAME: Final = "evaluation.json"
REPORT_NAME: Final = "report.html"

_FIGURES: Final = {
    "log_loss": "log-loss / nats",
    "flat_log_loss": "flat log-loss / nats",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "macro_recall": "macro recall",
    "macro_auc": "macro ROC-AUC",
    "macro_average_precision": "macro average precision",
    "ece": "calibration error (ECE)",
}
_OF_CLASS: Final = {
    "recall": "recall",
    "precision": "precision",
    "average_precision": "average precision",
    "auc": "ROC-AUC",
    "log_loss": "log-loss",
}
_MOMENT_NAMES: Final = {
    "last_detection": "at the last detection",
    "random_detection": "at a random detection",
}


def write_report(evaluation: Evaluation, out: Path) -> Path:
    """Write ``evaluation.json``, ``report.html`` and its figures into a folder; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    images = {name: _png(draw) for name, draw in _drawings(evaluation).items()}
    for name, content in images.items():
        (out / f"{name}.png").write_bytes(content)
    text = json.dumps(evaluation.result, indent=1, allow_nan=False)
    (out / EVALUATION_NAME).write_text(text + "\n", encoding="utf-8")
    path = out / REPORT_NAME
    path.write_text(_page(evaluation.result, images), encoding="utf-8")
    return path


def _png(draw: Callable[[], Figure]) -> bytes:
    from models.plots import png

    return png(draw)


def _drawings(evaluation: Evaluation) -> dict[str, Callable[[], Figure]]:
    """Return how to draw each figure that this evaluation has."""
    from models import plots
    from models.examples import examples

    result, answers = evaluation.result, evaluation.answers
    latest = answers["random_detection"]
    drawings: dict[str, Callable[[], Figure]] = {
        "confusion": lambda: plots.called(result["called"], result["model"]["classes"]),
        "early": lambda: plots.early(result),
    }
    if len(result["data"]["known_classes"]) > 1:
        drawings |= {
            "early_by_class": lambda: plots.early_by_class(result),
            "precision_recall": lambda: plots.precision_recall(answers),
            "reliability": lambda: plots.reliability(result["reliability"]),
        }
    truth = evaluation.data.label[latest.alerts.curve]
    kinds = [
        None if row >= 0 else evaluation.data.classes[true]
        for row, true in zip(latest.label, truth, strict=True)
    ]
    cuts = (result["rejection"] or {}).get("thresholds", {})
    drawings["rejection"] = lambda: plots.rejection(latest.ood_score, kinds, cuts)
    drawings["examples"] = lambda: examples(latest.known, evaluation.data)
    return drawings


def _page(result: dict[str, Any], images: Mapping[str, bytes]) -> str:
    model, data = result["model"], result["data"]
    title = f"{model['name']} {model['version']} on {data['name']}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        _about(result),
        section("Headline", _headline(result), _against(result)),
        section("What alerts are called", _CONFUSION_TEXT, image(images, "confusion")),
        section("Classes", *_class_tables(result), image(images, "precision_recall")),
        section(
            "Early classification",
            _EARLY_TEXT,
            image(images, "early"),
            image(images, "early_by_class"),
        ),
        section("Calibration", image(images, "reliability")),
        section("Surveys", _surveys(result)),
        section("Thresholds", _thresholds(result), _applied(result)),
        section("Rejection", _rejection(result), image(images, "rejection")),
        section("Example light curves", _EXAMPLES_TEXT, image(images, "examples")),
    ]
    return page(title, sections)


_CONFUSION_TEXT: Final = (
    "<p>Rows are true classes, columns the most probable class of the model; the colour and "
    "the first number are the fraction of the row, the second number counts alerts.</p>"
)
_EARLY_TEXT: Final = (
    "<p>By detections, each point counts the objects that have so many: they are not the same "
    "objects. By days, all objects count at all times, faded or not. Bands are 95 % intervals."
    "</p>"
)
_EXAMPLES_TEXT: Final = (
    "<p>At a random detection. Left, the answer of median certainty among the right ones; right, "
    "the most certain mistake. Filled: detections; open: other fluxes with errors; triangles: "
    "5-sigma upper limits; faint: after the alert (dashed line), unknown to the model.</p>"
)


def _about(result: dict[str, Any]) -> str:
    model, data, config = result["model"], result["data"], result["config"]
    refused = ", ".join(
        f"{result[moment]['refused']} {name}" for moment, name in _MOMENT_NAMES.items()
    )
    objects = ", ".join(f"{name} {count}" for name, count in data["objects"].items())
    rows = {
        "model": f"{model['name']} {model['version']}, {model['bytes']:,} bytes, sha256 "
        f"{model['sha256']}",
        "trained on": model["training_data"],
        "evaluated on": f"{data['name']}; part: {data.get('part', 'all')}",
        "objects": f"{objects}; {data['without_detection']} without a detection are left out",
        "mode": result["mode"],
        "alerts without an answer": f"{refused} (fewer observations than the model needs)",
        "intervals": f"95 %, bootstrap by object, {config['bootstrap']} resamples, seed "
        f"{config['seed']}",
    }
    notes = [model["notice"], *result.get("warnings", [])]
    cells = "".join(row([escape(name), escape(text)]) for name, text in rows.items())
    boxes = "".join(f'<p class="note">{escape(note)}</p>' for note in notes if note)
    facts = cells.replace("<td>", '<td style="text-align:left;white-space:normal">')
    return f"<table>{facts}</table>{boxes}"


def _headline(result: dict[str, Any]) -> str:
    columns = {name: result[moment] for moment, name in _MOMENT_NAMES.items()}
    columns |= {
        f"{_MOMENT_NAMES[moment]}, among its classes": entry
        for moment, entry in result["restricted"].items()
    }
    known = result["data"]["known_classes"]
    if len(known) == 1:
        names = {f"recall_{known[0]}": f"recall of {known[0]}"}
        names[f"log_loss_{known[0]}"] = f"log-loss of {known[0]} / nats"
    else:
        names = _FIGURES
    counts = [row([kind, *(str(c[kind]) for c in columns.values())]) for kind in _COUNTED]
    rows = [
        row([escape(title), *(interval(c.get(name)) for c in columns.values())])
        for name, title in names.items()
    ]
    return table(["figure", *columns], [*counts, *rows])


_COUNTED: Final = ("objects", "alerts")


def _against(result: dict[str, Any]) -> str:
    """Return the paired comparison with another model, if one was made."""
    other = result.get("against")
    if not other:
        return ""
    columns = {name: other[moment] for moment, name in _MOMENT_NAMES.items()}
    kinds = {
        f"{name}_{'ratio' if 'log_loss' in name else 'difference'}": title.removesuffix(" / nats")
        for name, title in _FIGURES.items()
    }
    rows = [
        row(
            [
                f"{title}, {key.rsplit('_', 1)[1]}",
                *(interval(c.get(key)) for c in columns.values()),
            ]
        )
        for key, title in kinds.items()
    ]
    text = (
        f"against {other['name']} ({other['sha256'][:12] or other['version']}), same alerts, "
        f"paired, among {len(columns[_MOMENT_NAMES[MOMENTS[0]]]['classes'])} common classes: "
        "a ratio below 1 and a difference above 0 (ECE: below) are better"
    )
    return table(["figure", *columns], rows, text)


def _class_tables(result: dict[str, Any]) -> Iterable[str]:
    known = result["data"]["known_classes"]
    for moment, name in _MOMENT_NAMES.items():
        rows = [
            row(
                [
                    escape(k),
                    str(_alerts_of(result, moment, k)),
                    *(interval(result[moment].get(f"{kind}_{k}")) for kind in _OF_CLASS),
                ]
            )
            for k in known
        ]
        yield table(["class", "alerts", *_OF_CLASS.values()], rows, name)


def _alerts_of(result: dict[str, Any], moment: str, name: str) -> int:
    return sum(result["called"][moment].get(name, {}).values())


def _surveys(result: dict[str, Any]) -> str:
    known = result["data"]["known_classes"]
    one = {f"recall_{known[0]}": f"recall of {known[0]}"} if len(known) == 1 else _FIGURES
    rows = [
        row(
            [
                f"{escape(survey)}, {_MOMENT_NAMES[moment]}",
                str(entry["objects"]),
                *(interval(entry.get(name)) for name in one),
            ]
        )
        for survey, moments in result["surveys"].items()
        for moment, entry in moments.items()
    ]
    return table(["survey", "objects", *one.values()], rows)


def _thresholds(result: dict[str, Any]) -> str:
    rows = [
        row(
            [
                escape(name),
                _MOMENT_NAMES[moment],
                number,
                precision,
                f"{cut['probability']:.3f}" if cut else "not reached",
                interval(cut["recall"] if cut else None),
            ]
        )
        for moment, by_number in result["thresholds"].items()
        for number, by_class in by_number.items()
        for name, cuts in by_class.items()
        for precision, cut in cuts.items()
    ]
    head = ["class", "alert", "least detections", "class-balanced precision"]
    text = "cuts with the highest recall at a precision that counts all classes alike"
    return table([*head, "probability", "recall"], rows, text) if rows else ""


def _applied(result: dict[str, Any]) -> str:
    """Return how often alerts exceed the thresholds of another evaluation, by true class."""
    rows = [
        row(
            [
                escape(f"{true} called {name}"),
                _MOMENT_NAMES[moment],
                number,
                precision,
                f"{rates['probability']:.3f}",
                str(rate["alerts"]),
                interval(rate),
            ]
        )
        for moment, by_number in result["applied"].items()
        for number, by_class in by_number.items()
        for name, cuts in by_class.items()
        for precision, rates in cuts.items()
        for true, rate in rates.items()
        if true != "probability" and (rate["value"] or true == name)
    ]
    head = ["true class", "alert", "least detections", "precision elsewhere", "probability"]
    text = "thresholds found on other data, applied here: recall and false positives"
    return table([*head, "alerts", "fraction above"], rows, text) if rows else ""


def _rejection(result: dict[str, Any]) -> str:
    found = result["rejection"]
    if not found:
        return "<p>The data set has no classes that the model lacks: nothing to reject.</p>"
    keeps = list(found["thresholds"])
    rows = [
        row(
            [
                escape(kind),
                str(entry["alerts"]),
                interval(entry["auc"]),
                *(interval(entry[f"rejected_at_{keep}"]) for keep in keeps),
            ]
        )
        for kind, entry in found.items()
        if isinstance(entry, dict) and "auc" in entry
    ]
    cuts = [
        f"rejected, keeping {keep} of known (score {found['thresholds'][keep]:.2f})"
        for keep in keeps
    ]
    return table(["unknown class", "alerts", "ROC-AUC of the score", *cuts], rows)
