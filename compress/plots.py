"""Draw what compression costs and buys. Each function returns a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from models.plots import COLOURS, blank

__all__ = ["Point", "bounds", "classes", "front", "pareto"]

Bounds = tuple[float, float, float]
"""Value, low and high."""

_MARKERS: Final = {"stage": "o", "twin": "s", "variant": "^", "peer": "D"}
_KINDS: Final = {
    "stage": "stages of the chain",
    "twin": "twins",
    "variant": "variants",
    "peer": "peers",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A model in the plane of cost and loss."""

    name: str
    kind: str
    cost: float
    loss: Bounds


def pareto(points: Sequence[Point], cost: str, loss: str) -> Figure:
    """Draw loss against cost; a line joins the models that no other beats in both."""
    figure = blank(7.4, 4.4)
    axis = figure.subplots()
    for (kind, marker), colour in zip(_MARKERS.items(), COLOURS, strict=False):
        some = [p for p in points if p.kind == kind]
        if some:
            values = np.array([p.loss for p in some]).T
            style: dict[str, Any] = {"fmt": marker, "color": colour, "capsize": 2, "lw": 0.9}
            errors = np.abs(values[1:] - values[0])
            axis.errorbar([p.cost for p in some], values[0], errors, label=_KINDS[kind], **style)
    for point in points:
        place = (point.cost, point.loss[0])
        axis.annotate(point.name, place, (4, 4), textcoords="offset points", fontsize=7)
    best = front(points)
    line = [[p.cost for p in best], [p.loss[0] for p in best]]
    axis.plot(*line, color="#999999", lw=0.9, ls="--", zorder=0)
    axis.set(xlabel=cost, ylabel=loss, xscale="log")
    figure.legend(loc="outside upper center", ncols=len(_KINDS))
    return figure


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in cost and loss, the cheapest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.loss[0])):
        if not best or point.loss[0] < best[-1].loss[0]:
            best.append(point)
    return best


def classes(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, str]) -> Figure:
    """Draw the recall of each class with its interval, of two models."""
    figure = blank(6.6, 0.34 * len(before) + 1.4)
    axis = figure.subplots()
    place: npt.NDArray[np.float64] = np.arange(len(before), dtype=np.float64)
    for shift, colour, name, some in zip(
        (-0.12, 0.12), COLOURS, names, (before, after), strict=False
    ):
        values = np.array([bounds(some[known]) for known in before]).T
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "color": colour, "capsize": 2, "lw": 1}
        axis.errorbar(
            values[0], place + shift, xerr=np.abs(values[1:] - values[0]), label=name, **style
        )
    axis.set_yticks(place, list(before))
    axis.invert_yaxis()
    axis.set(xlabel="recall", xlim=(-0.02, 1.02))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def bounds(figure: Mapping[str, float | None]) -> Bounds:
    """Return value, low and high; a figure without an interval has none to draw."""
    value = figure["value"]
    assert value is not None, "only classes that occur are drawn"
    low, high = figure["low"], figure["high"]
    return value, value if low is None else low, value if high is None else high
