"""Pictures of simulated light curves, to be looked at before anything is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.datasets.labelled import LabelledCurves
from models.errors import MissingExtraError
from models.lightcurve import BANDS, LightCurves

__all__ = ["plot_classes", "plot_curves"]

_COLUMNS: Final = 4
_COLOURS: Final = {
    "u": "tab:purple",
    "g": "tab:green",
    "r": "tab:red",
    "i": "tab:orange",
    "z": "tab:brown",
    "y": "black",
}


def plot_classes(data: LabelledCurves, folder: Path, examples: int = 12) -> list[Path]:
    """Write ``CLASS.png`` with the first curves of each class to a folder; return the paths.

    The folder is made if it is not there. `MissingExtraError` when matplotlib is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, name in enumerate(data.classes):
        rows = np.flatnonzero(data.label == k)[:examples]
        titles = [data.groups[g] for g in data.group[rows]]
        paths.append(folder / f"{name}.png")
        plot_curves(data.curves.take(rows), titles, f"{name}, {data.name}", paths[-1])
    return paths


def plot_curves(curves: LightCurves, titles: list[str], heading: str, path: Path) -> None:
    """Write a PNG with one panel per curve: difference flux in microjansky against days.

    Detections are filled, other measurements faint; days count from the first detection.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("simulate --plots", "train") from None
    rows = max(-(-len(curves) // _COLUMNS), 1)
    figure = Figure(figsize=(4.2 * _COLUMNS, 2.6 * rows), layout="constrained")
    figure.suptitle(heading)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for i, panel in enumerate(panels):
        if i >= len(curves):
            panel.set_axis_off()
            continue
        _draw(panel, curves, slice(curves.splits[i], curves.splits[i + 1]))
        redshift = "" if curves.redshift is None else _redshift(curves.redshift[i])
        panel.set_title(titles[i] + redshift, fontsize="small")
    figure.savefig(path, dpi=70)


def _draw(panel: Any, curves: LightCurves, part: slice) -> None:
    mjd, band = curves.mjd[part], curves.band[part]
    flux, error = curves.flux[part] / 1e3, curves.flux_err[part] / 1e3
    detected = curves.detected[part]
    if not len(mjd):
        return
    start = mjd[np.argmax(detected)]
    for row in np.unique(band):
        colour = _COLOURS[BANDS[row].name]
        for mine, alpha in ((detected, 1.0), (~detected, 0.25)):
            chosen = mine & (band == row)
            _points(panel, mjd[chosen] - start, flux[chosen], error[chosen], colour, alpha)
    panel.axhline(0, color="grey", linewidth=0.5)
    # Shallow exposures with their wide errors would hide the rest.
    low, high = np.percentile(flux, [2, 98])
    low, high = min(low, *flux[detected], 0.0), max(high, *flux[detected], 0.0)
    panel.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))


def _points(
    panel: Any,
    days: npt.NDArray[np.float64],
    flux: npt.NDArray[np.float32],
    error: npt.NDArray[np.float32],
    colour: str,
    alpha: float,
) -> None:
    panel.errorbar(days, flux, error, fmt="o", markersize=2.5, color=colour, alpha=alpha, lw=0.7)


def _redshift(value: float) -> str:
    return "" if np.isnan(value) else f", z {value:.2f}"
