"""Draw example light curves with what a model said about them.

Notation: n alerts, K classes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.answers import Answers
from models.datasets import LabelledCurves
from models.lightcurve import BANDS, DETECTION_SNR, LightCurves
from models.plots import blank

__all__ = ["BAND_COLOURS", "choose", "examples"]

BAND_COLOURS: Final = {
    "u": "#7b3fa0",
    "g": "#2a9d3a",
    "r": "#d62728",
    "i": "#e08a00",
    "z": "#8c564b",
    "y": "#333333",
}
"""By the name of the band, whatever the survey."""

_NAMES_SHOWN: Final = 3
_FEWEST: Final = 5
"""Detections that an example should have, where there is such a one."""
_AFTER_DAYS: Final = 60.0
_USUAL_ERROR: Final = 3.0
"""Errors up to so many times the median one fit into the panel."""


def choose(answers: Answers) -> dict[int, tuple[int | None, int | None]]:
    """Return, per class, an alert that is right and one that is wrong, None where there is none.

    The right one has the median probability of its class, the wrong one is the most
    certain mistake; both have at least five detections if any has.
    """
    called = answers.probabilities.argmax(axis=1)
    certainty = answers.probabilities.max(axis=1)
    chosen: dict[int, tuple[int | None, int | None]] = {}
    for row in answers.present:
        right = _rich(answers, np.flatnonzero((answers.label == row) & (called == row)))
        wrong = _rich(answers, np.flatnonzero((answers.label == row) & (called != row)))
        typical = right[np.argsort(certainty[right], kind="stable")]
        worst = wrong[np.argsort(-certainty[wrong], kind="stable")]
        chosen[int(row)] = (
            int(typical[len(typical) // 2]) if len(typical) else None,
            int(worst[0]) if len(worst) else None,
        )
    return chosen


def _rich(answers: Answers, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    enough = rows[answers.count[rows] >= _FEWEST]
    return enough if len(enough) else rows


def examples(answers: Answers, data: LabelledCurves) -> Figure:
    """Draw one right and one wrong example of each class, a row each.

    Filled: detections, open: other fluxes with their errors, triangles: 5-sigma upper
    limits, faint: what came after the alert (dashed line), of which the model knew nothing.
    """
    chosen = choose(answers)
    figure = blank(10.2, 2.5 * len(chosen) + 0.5)
    axes = figure.subplots(len(chosen), 2, squeeze=False)
    for panels, pair in zip(axes, chosen.values(), strict=True):
        for axis, alert, kind in zip(panels, pair, ("right", "wrong"), strict=True):
            if alert is None:
                axis.set_axis_off()
                axis.text(0.5, 0.5, f"none is {kind}", ha="center", transform=axis.transAxes)
            else:
                _example(axis, answers, data, alert)
    rows = answers.alerts.curve[
        [alert for pair in chosen.values() for alert in pair if alert is not None]
    ]
    _legend(figure, axes[0, 0], {BANDS[b].name for b in np.unique(data.curves.take(rows).band)})
    return figure


def _example(axis: Axes, answers: Answers, data: LabelledCurves, alert: int) -> None:
    curve = data.curves.take(answers.alerts.curve[[alert]])
    trigger = float(answers.alerts.trigger_mjd[alert])
    near = curve.mjd <= trigger + _AFTER_DAYS
    some = curve.where(near)
    for band in np.unique(some.band):
        _band(axis, some, some.band == band, trigger, BANDS[band].name)
    axis.set_ylim(*_limits(some))
    axis.axvline(0, color="#333333", lw=0.9, ls="--")
    axis.axhline(0, color="#bbbbbb", lw=0.8)
    axis.set_title(_title(answers, alert), fontsize=8, loc="left")
    axis.set_xlabel("days from the alert", fontsize=8)
    axis.set_ylabel("flux / nJy", fontsize=8)
    axis.tick_params(labelsize=7)


def _title(answers: Answers, alert: int) -> str:
    chances = answers.probabilities[alert]
    best = np.argsort(-chances, kind="stable")[:_NAMES_SHOWN]
    said = ", ".join(f"{answers.classes[row]} {chances[row]:.2f}" for row in best)
    true = answers.classes[answers.label[alert]]
    verdict = "right" if best[0] == answers.label[alert] else "wrong"
    identity = answers.object_id[alert]
    return f"{true} {identity}, {answers.count[alert]} detections, {verdict}:\n{said}"


def _band(
    axis: Axes, curve: LightCurves, own: npt.NDArray[np.bool_], trigger: float, name: str
) -> None:
    colour = BAND_COLOURS[name]
    limit = own & ~curve.detected & (curve.flux == 0)
    for before, strength in ((True, 1.0), (False, 0.25)):
        when = (curve.mjd <= trigger) == before
        drawn: dict[str, Any] = {"color": colour, "alpha": strength, "ls": "none"}
        error: dict[str, Any] = {**drawn, "marker": "o", "elinewidth": 0.7}
        for rows, more in (
            (own & curve.detected & when, {"ms": 3.6}),
            (own & ~curve.detected & ~limit & when, {"ms": 2.6, "mfc": "none", "mew": 0.6}),
        ):
            flux, err = curve.flux[rows], curve.flux_err[rows]
            axis.errorbar(curve.mjd[rows] - trigger, flux, err, **error, **more)
        rows = limit & when
        height = DETECTION_SNR * curve.flux_err[rows]
        axis.plot(curve.mjd[rows] - trigger, height, marker="v", ms=3.2, mew=0.5, **drawn)


def _limits(curve: LightCurves) -> tuple[float, float]:
    """Return the range of fluxes to show: that of detections and of errors that are usual."""
    usual = curve.flux_err <= _USUAL_ERROR * np.median(curve.flux_err)
    some = curve.where(usual | curve.detected)
    low, high = (some.flux - some.flux_err).min(), (some.flux + some.flux_err).max()
    margin = 0.05 * (high - low)
    return float(min(low, 0) - margin), float(max(high, 0) + margin)


def _legend(figure: Figure, axis: Axes, names: set[str]) -> None:
    handles = [
        axis.plot([], [], "o", color=colour, ms=4, label=name)[0]
        for name, colour in BAND_COLOURS.items()
        if name in names
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8)
