"""Draw what an evaluation found. Each function returns a figure of matplotlib.

Figures are made without pyplot: nothing is global, and none stays in memory.

Notation: n alerts, K classes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.answers import Answers
from models.rejection import KEPT

__all__ = [
    "blank",
    "called",
    "early",
    "early_by_class",
    "png",
    "precision_recall",
    "rejection",
    "reliability",
]

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")
"""Told apart by the colour-blind (Okabe & Ito), then repeated with other dashes."""
DASHES: Final = ("-", "--", ":")

STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "legend.frameon": False,
}

_DPI: Final = 110
_MOST_SHADED: Final = 5
_MOST_BESIDE: Final = 8
_FEWEST_ALERTS: Final = 10
"""Bins of the reliability diagram with fewer alerts say nothing of the accuracy."""
_MOMENT_NAMES: Final = {
    "last_detection": "at the last detection",
    "random_detection": "at a random detection",
}
_EARLY: Final = {
    "macro_auc": "ROC-AUC, mean of classes",
    "macro_recall": "recall, mean of classes",
    "flat_log_loss": "flat log-loss / nats",
}


def png(draw: Callable[[], Figure]) -> bytes:
    """Draw a figure in the style of the report and return it as a PNG file."""
    content = io.BytesIO()
    with rc_context(STYLE):
        draw().savefig(content, format="png", dpi=_DPI, metadata={"Software": "tinyt2"})
    return content.getvalue()


def called(tables: Mapping[str, dict[str, dict[str, int]]], classes: Sequence[str]) -> Figure:
    """Draw what alerts of each true class are called, one panel per moment.

    Colour and first line are the fraction of the row, the second line is the count.
    """
    rows = max(len(table) for table in tables.values())
    width, height = max(3.2, 0.55 * len(classes) + 1.6), max(2.8, 0.48 * rows + 1.5)
    # Large tables stand one above the other: side by side a page would shrink their numbers.
    down, across = (len(tables), 1) if len(classes) > _MOST_BESIDE else (1, len(tables))
    figure = blank(width * across, height * down)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis, (moment, table) in zip(axes, tables.items(), strict=True):
        counts = np.array([[row.get(name, 0) for name in classes] for row in table.values()])
        _matrix(axis, counts, list(table), classes)
        axis.set_title(_MOMENT_NAMES[moment])
    return figure


def _matrix(
    axis: Axes, counts: npt.NDArray[np.int64], true: Sequence[str], classes: Sequence[str]
) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.grid(visible=False)
    axis.set_xticks(range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(true)), true)
    axis.set_xlabel("called")
    axis.set_ylabel("true class")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[row, column] > 0.55 else "#333333"
            text = f"{share[row, column]:.2f}\n{count}"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=6.5)


def precision_recall(answers: Mapping[str, Answers]) -> Figure:
    """Draw precision against recall of each class that occurs, one panel each."""
    known = {moment: some.known for moment, some in answers.items()}
    first = next(iter(known.values()))
    present = first.present
    columns = min(4, len(present))
    rows = -(-len(present) // columns)
    figure = blank(2.6 * columns, 2.2 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis in axes[len(present) :]:
        axis.set_visible(False)
    for axis, row in zip(axes, present, strict=False):
        for colour, (moment, some) in zip(COLOURS, known.items(), strict=False):
            recall, precision = _curve(some.probabilities[:, row], some.label == row)
            axis.plot(recall, precision, color=colour, lw=1.4, label=_MOMENT_NAMES[moment])
        axis.axhline(np.mean(first.label == row), color="#999999", lw=0.8, ls=":")
        axis.set(title=first.classes[row], xlim=(0, 1.02), ylim=(0, 1.02))
    for axis in axes[:-columns][len(present) - columns :]:
        axis.tick_params(labelbottom=True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision (dotted: fraction of the class)", fontsize=9)
    return figure


def _curve(
    score: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return recall and precision at each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)[: len(order)]
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return hits / max(1, int(positive.sum())), precision


def early(result: Mapping[str, Any]) -> Figure:
    """Draw the headline figures against number of detections and days, with intervals."""
    names = _early_names(result)
    figure = blank(3.4 * len(names), 5.2)
    axes = figure.subplots(2, len(names), squeeze=False, sharey="col")
    for row, (slices, label) in enumerate(_slices()):
        for axis, (name, title) in zip(axes[row], names.items(), strict=True):
            _with_intervals(axis, result[slices], name, COLOURS[0])
            axis.set_xlabel(label)
            axis.set_ylabel(title)
    return figure


def early_by_class(result: Mapping[str, Any]) -> Figure:
    """Draw the recall of each class against number of detections and days.

    Intervals are left out where more than five classes would hide each other.
    """
    names = result["data"]["known_classes"]
    shaded = len(names) <= _MOST_SHADED
    figure = blank(10.2, 3.9)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (slices, label) in zip(axes, _slices(), strict=True):
        for number, name in enumerate(names):
            colour, dash = COLOURS[number % 7], DASHES[number // 7 % 3]
            _with_intervals(axis, result[slices], f"recall_{name}", colour, dash, name, shaded)
        axis.set_xlabel(label)
        axis.set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("recall")
    if axes[0].get_legend_handles_labels()[0]:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def _slices() -> tuple[tuple[str, str], ...]:
    return (
        ("at_detection", "detections (of objects with so many)"),
        ("at_days", "days since the first detection (all objects)"),
    )


def _early_names(result: Mapping[str, Any]) -> dict[str, str]:
    known = result["data"]["known_classes"]
    return {f"recall_{known[0]}": f"recall of {known[0]}"} if len(known) == 1 else _EARLY


def _with_intervals(
    axis: Axes,
    slices: Mapping[str, Any],
    name: str,
    colour: str,
    dash: str = "-",
    label: str | None = None,
    shaded: bool = True,
) -> None:
    """Draw one figure over the slices, at even steps: their numbers grow like a geometric row."""
    keys = list(slices)
    places = [i for i, key in enumerate(keys) if slices[key].get(name, {}).get("value") is not None]
    entries = [slices[keys[i]][name] for i in places]
    values = [entry["value"] for entry in entries]
    axis.plot(places, values, color=colour, ls=dash, marker="o", ms=3, lw=1.3, label=label)
    if shaded:
        low, high = ([entry[side] for entry in entries] for side in ("low", "high"))
        axis.fill_between(places, low, high, color=colour, alpha=0.15, lw=0)
    axis.set_xticks(range(len(keys)), keys)


def reliability(bins: Mapping[str, list[dict[str, float]]]) -> Figure:
    """Draw accuracy against confidence, and how many alerts have which confidence."""
    figure = blank(5.0, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot((0, 1), (0, 1), color="#999999", lw=0.8, ls=":")
    for colour, (moment, rows) in zip(COLOURS, bins.items(), strict=False):
        style: dict[str, Any] = {"color": colour, "marker": "o", "ms": 3.5, "lw": 1.3}
        some = [row for row in rows if row["alerts"] >= _FEWEST_ALERTS]
        line = [[row[name] for row in some] for name in ("confidence", "accuracy")]
        top.plot(*line, label=_MOMENT_NAMES[moment], **style)
        line = [[row[name] for row in rows] for name in ("confidence", "alerts")]
        bottom.plot(*line, **style)
    top.set(ylabel="accuracy", ylim=(0, 1.02))
    top.legend(loc="upper left")
    bottom.set(xlabel="probability of the most probable class", ylabel="alerts", xlim=(0, 1.02))
    bottom.set_yscale("log")
    return figure


def rejection(
    score: npt.NDArray[np.floating], kind: Sequence[str | None], thresholds: Mapping[str, float]
) -> Figure:
    """Draw how the score of known alerts (kind None) and of each unknown kind is distributed."""
    figure = blank(7.2, 3.4)
    axis = figure.subplots()
    kinds = np.array(["known classes" if name is None else name for name in kind])
    low, high = np.quantile(score, (0.001, 0.999))
    edges = np.linspace(low, max(high, low + 1e-6), 40).tolist()
    names = ["known classes", *sorted(set(kinds.tolist()) - {"known classes"})]
    for number, name in enumerate(names):
        some = np.clip(score[kinds == name], edges[0], edges[-1])
        weights = np.full(len(some), 1 / max(1, len(some)))
        line: dict[str, Any] = {"color": COLOURS[number % 7], "ls": DASHES[number // 7 % 3]}
        axis.hist(some, edges, weights=weights, histtype="step", lw=1.5, label=name, **line)
    for dash, keep in zip(DASHES[1:], map(str, KEPT), strict=False):
        where = thresholds.get(keep)
        if where is not None:
            axis.axvline(where, color="#333333", lw=0.9, ls=dash, label=f"keeps {keep} of known")
    axis.set(xlabel="out-of-distribution score", ylabel="fraction of alerts per bin")
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained")
