"""The page of a report: tables and pictures of what `compress.report` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from compress import plots
from compress.speed import BATCHES
from models.evaluate_bundle import MOMENTS
from models.export import replace
from models.page import image, interval, page, row, section, table
from models.plots import png

__all__ = ["PAGE_NAME", "write_page"]

PAGE_NAME: Final = "report.html"

_MOMENT_NAMES: Final = {
    "last_detection": "at the last detection",
    "random_detection": "at a random detection",
}
_TYPICAL: Final = 64
"""Observations of the curves whose times stand in the first table, if they were taken."""
_TEXT: Final = (
    "<p>Raw bytes are the parameters in fp32. The file is graph and weights, its manifest stands "
    "apart; zipped is the file without manifest in a zip, which nothing loads. <i>Smaller</i> is "
    "the raw teacher against the file, <i>faster</i> the teacher's CPU time against the model's, "
    "network alone, one thread, taken by turns. Differences to the teacher are paired: same "
    "alerts, same resamples of objects; so are those of twins and variants to the last stage.</p>"
)
Result = Mapping[str, Any]


def write_page(result: Result, out: Path) -> Path:
    """Write the page of a result, and its pictures as PNG, into a folder; return its path."""
    part = next(iter(result["parts"]))
    images = {name: png(draw) for name, draw in _drawings(result, part).items()}
    for name, content in images.items():
        replace(out / f"{name}.png", content)
    replace(out / PAGE_NAME, page(result["title"], _sections(result, part, images)).encode())
    return out / PAGE_NAME


def _sections(result: Result, part: str, images: Mapping[str, bytes]) -> list[str]:
    stages, losses = result["stages"], ("pareto_bytes", "pareto_latency")
    every = [(p, m) for p in result["parts"] for m in MOMENTS]
    return [
        f"<h1>{escape(result['title'])}</h1>",
        _about(result),
        section("Models", _TEXT, _overview(stages, part), *(image(images, n) for n in losses)),
        section("Accuracy", *(_accuracy(stages, p, m) for p, m in every)),
        section("Speed", *(_speed(stages, batch) for batch in BATCHES)),
        section("Bytes in the file", _stored(stages)),
        section(
            "Classes, before and after",
            image(images, "classes"),
            *(_classes(stages, p, m) for p, m in every),
        ),
    ]


def _about(result: Result) -> str:
    config = result["config"]
    facts = {
        "made by": result["command"],
        "tested on": "; ".join(
            f"{part}: {about['objects']:,} objects of {about['data']}"
            for part, about in result["parts"].items()
        ),
        "intervals": f"95 %, bootstrap by object, {config['bootstrap']} resamples, seed "
        f"{config['seed']}",
        "times": f"median of {config['rounds']} rounds on {result['machine']}",
    }
    rows = "".join(row([escape(name), escape(text)]) for name, text in facts.items())
    return (
        "<table>"
        + rows.replace("<td>", '<td style="text-align:left;white-space:normal">')
        + ("</table>")
    )


def _overview(stages: Sequence[Result], part: str) -> str:
    raw, moment = stages[0]["sizes"]["raw_fp32_bytes"], "random_detection"
    head = ["model", "kind", "parameters", "raw fp32 bytes", "file bytes", "smaller"]
    head += ["manifest bytes", "zipped bytes", "log-loss", "flat log-loss", "worst recall change"]
    head += [f"faster, B={batch}, {_typical(stages)} observations" for batch in BATCHES]
    rows = []
    for stage in stages:
        sizes, figures = stage["sizes"], stage["figures"][part][moment]
        against = stage["against_teacher"][part][moment]
        worst = interval(against["worst_recall_difference"], "+.3f")
        rows.append(
            row(
                [
                    *_named(stage),
                    f"{sizes['parameters']:,}",
                    f"{sizes['raw_fp32_bytes']:,}",
                    f"{sizes['file_bytes']:,}",
                    f"{raw / sizes['file_bytes']:.1f}x",
                    f"{sizes['manifest_bytes']:,}",
                    f"{sizes['zipped_bytes']:,}",
                    interval(figures["log_loss"], ".4f"),
                    interval(figures["flat_log_loss"], ".4f"),
                    f"{escape(against['worst_class'])} {worst}",
                    *(f"{_at(stage, batch, stages)['ratio']:.2f}x" for batch in BATCHES),
                ]
            )
        )
    return table(head, rows, f"{part}, {_MOMENT_NAMES[moment]}")


def _named(stage: Result) -> list[str]:
    title = escape(f"{stage['precision']}; {stage['made_by']}; {stage['sha256'][:12]}")
    return [f'<span title="{title}">{escape(stage["name"])}</span>', stage["kind"]]


def _typical(stages: Sequence[Result]) -> int:
    lengths = [speed["length"] for speed in stages[0]["speed"]]
    return _TYPICAL if _TYPICAL in lengths else int(lengths[-1])


def _at(stage: Result, batch: int, stages: Sequence[Result]) -> Result:
    """Return the times of a model for typical curves."""
    found: Result = next(
        s for s in stage["speed"] if s["length"] == _typical(stages) and s["batch"] == batch
    )
    return found


def _accuracy(stages: Sequence[Result], part: str, moment: str) -> str:
    head = ["model", "kind", "alerts", "log-loss", "change", "flat log-loss", "change", "ECE"]
    head += ["accuracy", "macro recall", "agreement", "worst class", "change of its recall"]
    head += ["log-loss against the last stage's"]
    rows = []
    for stage in stages:
        figures = stage["figures"][part][moment]
        against = stage["against_teacher"][part][moment]
        ours = stage.get("against_result", {}).get(part, {}).get(moment)
        rows.append(
            row(
                [
                    *_named(stage),
                    f"{figures['alerts']:,}",
                    interval(figures["log_loss"], ".4f"),
                    interval(against["log_loss_difference"], "+.4f"),
                    interval(figures["flat_log_loss"], ".4f"),
                    interval(against["flat_log_loss_difference"], "+.4f"),
                    interval(figures["ece"]),
                    interval(figures["accuracy"]),
                    interval(figures["macro_recall"]),
                    f"{against['agreement']:.3f}",
                    escape(against["worst_class"]),
                    interval(against["worst_recall_difference"], "+.3f"),
                    "" if ours is None else interval(ours["log_loss_difference"], "+.4f"),
                ]
            )
        )
    return table(head, rows, f"{part}, {_MOMENT_NAMES[moment]}; changes against the teacher")


def _speed(stages: Sequence[Result], batch: int) -> str:
    lengths = [s["length"] for s in stages[0]["speed"] if s["batch"] == batch]
    rows = []
    for stage in stages:
        some = [s for s in stage["speed"] if s["batch"] == batch]
        rows.append(row([*_named(stage), *(_timed(s) for s in some)]))
    what = "latency" if batch == 1 else "throughput"
    caption = (
        f"{what}, {batch} per call: times faster than the teacher (quartiles), by observations"
    )
    return table(["model", "kind", *map(str, lengths)], rows, caption)


def _timed(speed: Result) -> str:
    us = speed["us_per_alert"]
    time = f"{us:.0f} us" if speed["batch"] == 1 else f"{1e6 / us:,.0f} /s"
    quartiles = f"{speed['ratio_low']:.2f} to {speed['ratio_high']:.2f}"
    with_features = f"with features {speed['ratio_with_features']:.2f}x"
    return f"{speed['ratio']:.2f}x <small>{quartiles}; {time}; {with_features}</small>"


def _stored(stages: Sequence[Result]) -> str:
    kinds = sorted({kind for stage in stages for kind in stage["sizes"]["stored"]})
    rows = [
        row(
            [
                *_named(stage),
                escape(stage["precision"]),
                *(f"{stage['sizes']['stored'].get(kind, 0):,}" for kind in kinds),
            ]
        )
        for stage in stages
    ]
    return table(["model", "kind", "weights", *kinds], rows, "tensors in the file by type")


def _classes(stages: Sequence[Result], part: str, moment: str) -> str:
    """Return the recalls of the teacher and, beside them, those of every model with the change."""
    teacher, *others = stages
    names = list(teacher["against_teacher"][part][moment]["recall_difference"])
    rows = []
    for name in names:
        cells = [interval(teacher["figures"][part][moment][f"recall_{name}"])]
        for stage in others:
            after = stage["figures"][part][moment].get(f"recall_{name}")
            change = stage["against_teacher"][part][moment]["recall_difference"].get(name)
            cells.append(f"{interval(after)}<br><small>change</small> {interval(change, '+.3f')}")
        rows.append(row([escape(name), *cells]))
    caption = f"recall, {part}, {_MOMENT_NAMES[moment]}"
    return table(["class", *(stage["name"] for stage in stages)], rows, caption)


def _drawings(result: Result, part: str) -> dict[str, Callable[[], Figure]]:
    stages, moment = result["stages"], "random_detection"
    loss = f"log-loss / nats, {part}, {_MOMENT_NAMES[moment]}"
    latency = f"time per alert, {_typical(stages)} observations, B=1 / us"
    teacher = stages[0]
    last = [stage for stage in stages if stage["kind"] == "stage"][-1]
    names = teacher["against_teacher"][part][moment]["recall_difference"]
    before, after = (
        {name: stage["figures"][part][moment][f"recall_{name}"] for name in names}
        for stage in (teacher, last)
    )

    def points(cost: Callable[[Result], float]) -> list[plots.Point]:
        return [
            plots.Point(
                s["name"], s["kind"], cost(s), plots.bounds(s["figures"][part][moment]["log_loss"])
            )
            for s in stages
        ]

    return {
        "pareto_bytes": lambda: plots.pareto(
            points(lambda s: s["sizes"]["file_bytes"]), "graph and weights / bytes", loss
        ),
        "pareto_latency": lambda: plots.pareto(
            points(lambda s: _at(s, 1, stages)["us_per_alert"]), latency, loss
        ),
        "classes": lambda: plots.classes(before, after, (teacher["name"], last["name"])),
    }
