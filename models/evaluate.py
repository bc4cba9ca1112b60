"""Figures of merit of class probabilities, with bootstrap intervals by object.

Plain functions from arrays to JSON-ready dictionaries. A figure that a sample
does not define (a class without objects, nothing predicted) is None.

Notation: n alerts, K classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.augment import at_detection, n_detections
from models.errors import DataError
from models.lightcurve import LightCurves
from models.resampling import Resamples, interval, ranking, resample, weighted_counts

__all__ = [
    "DAY_SLICES",
    "DETECTION_SLICES",
    "at_days",
    "compare",
    "figures",
    "resampled_figures",
]

Floats = npt.NDArray[np.float64]

DETECTION_SLICES: Final = (1, 2, 3, 5, 10, 20, 50)
"""Alerts that are evaluated on their own: those of the 1st, 2nd, ... detection."""

DAY_SLICES: Final = (0, 3, 7, 14, 30, 60, 120)
"""Days since the first detection at which the latest alert of each object is evaluated."""

ECE_BINS: Final = 15
"""Equal bins of confidence of the calibration error and the reliability diagram."""

_FLOOR: Final = 1e-15


def resampled_figures(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    resamples: Resamples,
    averaged: npt.NDArray[np.int64] | None = None,
) -> dict[str, Floats]:
    """Return every scalar figure of every resample, each [1 + R], NaN where undefined.

    ``auc_X`` and ``average_precision_X`` are X against the rest, ``recall_X``,
    ``precision_X`` and ``log_loss_X`` are those of one class. ``flat`` and ``macro``
    figures are means over the classes ``averaged``: rows of ``classes``, all by default.
    """
    k = len(classes)
    averaged = np.arange(k) if averaged is None else averaged
    found = _losses(resamples, probabilities, label, averaged)
    found |= _answers(resamples, probabilities.argmax(axis=1), label, classes, averaged)
    found["ece"] = _calibration_error(resamples, probabilities, label)
    for row, name in enumerate(classes):
        area, precision = ranking(resamples, probabilities[:, row], label == row)
        found |= {f"auc_{name}": area, f"average_precision_{name}": precision}
    for kind in ("auc", "average_precision", "recall"):
        each = np.stack([found[f"{kind}_{classes[row]}"] for row in averaged])
        found[f"macro_{kind}"] = each.mean(axis=0)
    own = _losses_by_class(resamples, probabilities, label)
    return found | {f"log_loss_{name}": own[:, row] for row, name in enumerate(classes)}


def figures(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    bootstrap: int = 500,
    seed: int = 0,
    object_id: npt.NDArray[np.integer] | None = None,
    averaged: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return every figure of probabilities [n, K] for labels [n] with a 95 % interval.

    The interval is the percentile bootstrap over objects: ``object_id`` [n] says
    whose alerts are (by default, each is an object of its own). ``confusion``
    counts rows of true by columns of predicted classes, in alerts.
    """
    ids = np.arange(len(label)) if object_id is None else object_id
    resamples = resample(ids, bootstrap, seed)
    found = resampled_figures(probabilities, label, classes, resamples, averaged)
    k = len(classes)
    confusion = np.bincount(label * k + probabilities.argmax(axis=1), minlength=k * k)
    return {
        "objects": resamples.n_objects,
        "alerts": len(label),
        **{name: interval(values) for name, values in found.items()},
        "confusion": confusion.reshape(k, k).tolist(),
    }


def compare(
    probabilities_a: npt.NDArray[np.floating],
    probabilities_b: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    object_id: npt.NDArray[np.integer] | None = None,
    bootstrap: int = 500,
    seed: int = 0,
    averaged: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return how model a differs from model b on the same alerts, with 95 % intervals.

    Paired: both see the same resamples of objects. Losses are ratios a / b (below 1:
    a is better), all else differences a - b (above 0: a is better; ``ece``: worse).
    """
    if probabilities_a.shape != probabilities_b.shape:
        shapes = (probabilities_a.shape, probabilities_b.shape)
        raise DataError(f"models to compare must answer alike, not {shapes}", shapes)
    ids = np.arange(len(label)) if object_id is None else object_id
    resamples = resample(ids, bootstrap, seed)
    a, b = (
        resampled_figures(answers, label, classes, resamples, averaged)
        for answers in (probabilities_a, probabilities_b)
    )
    result: dict[str, Any] = {"objects": resamples.n_objects, "alerts": len(label)}
    for name in a:
        if "log_loss" in name:
            ratio = np.divide(
                a[name], b[name], out=np.full_like(a[name], np.nan), where=b[name] > 0
            )
            result[f"{name}_ratio"] = interval(ratio)
        else:
            result[f"{name}_difference"] = interval(a[name] - b[name])
    return result


def at_days(curves: LightCurves, days: float) -> Floats:
    """Return the time of each curve's last detection within ``days`` of its first, [n].

    A curve without detections gives its last observation.
    """
    first = at_detection(curves, np.zeros(len(curves), np.int64))
    early = curves.mjd <= np.repeat(first, curves.n_observations) + days
    counted = n_detections(curves.where(early))
    return at_detection(curves, counted - 1)


def _nll(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> Floats:
    own = probabilities[np.arange(len(label)), label].astype(np.float64)
    return np.asarray(-np.log(np.clip(own, _FLOOR, 1.0)))


def _over(part: Floats, whole: Floats) -> Floats:
    """Divide, giving NaN where there is nothing to divide by."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _losses_by_class(
    resamples: Resamples, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> Floats:
    k = probabilities.shape[1]
    sums = weighted_counts(resamples, label, k, _nll(probabilities, label))
    return _over(sums, weighted_counts(resamples, label, k))


def _losses(
    resamples: Resamples,
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    averaged: npt.NDArray[np.int64],
) -> dict[str, Floats]:
    one = np.zeros(len(label), np.int64)
    total = weighted_counts(resamples, one, 1, _nll(probabilities, label))
    flat = _losses_by_class(resamples, probabilities, label)[:, averaged].mean(axis=1)
    count = weighted_counts(resamples, one, 1)
    return {"log_loss": _over(total, count)[:, 0], "flat_log_loss": flat}


def _answers(
    resamples: Resamples,
    answer: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    averaged: npt.NDArray[np.int64],
) -> dict[str, Floats]:
    """Return the figures of the most probable class, from the confusion of each resample."""
    k = len(classes)
    confusion = weighted_counts(resamples, label * k + answer, k * k).reshape(-1, k, k)
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    recall, precision = _over(right, true), _over(right, predicted)
    f1 = np.where(true > 0, 2 * right / np.maximum(true + predicted, 1), np.nan)
    found = {
        "accuracy": _over(right.sum(axis=1), true.sum(axis=1)),
        "macro_f1": f1[:, averaged].mean(axis=1),
    }
    for row, name in enumerate(classes):
        found |= {f"recall_{name}": recall[:, row], f"precision_{name}": precision[:, row]}
    return found


def _calibration_error(
    resamples: Resamples, probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> Floats:
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == label
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = weighted_counts(resamples, bins, ECE_BINS, confidence - right)
    count = weighted_counts(resamples, bins, ECE_BINS)
    return _over(np.abs(gap).sum(axis=1), count.sum(axis=1))
