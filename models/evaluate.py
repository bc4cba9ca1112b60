"""Figures of merit of class probabilities, with bootstrap intervals by object.

Plain functions from arrays to JSON-ready dictionaries. A figure that a sample
does not define (a class without objects, nothing predicted) is None.

Notation: n objects, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn import config_context, metrics

from models.augment import at_detection, at_last_detection, n_detections, random_detection
from models.calibrate import softmax
from models.lightcurve import LightCurves

__all__ = ["by_detections", "evaluate", "expected_calibration_error", "figures"]

Logits = Callable[[LightCurves, npt.NDArray[np.float64]], npt.NDArray[np.float32]]
"""Scores of curves at their triggers, [n, K]."""

DETECTION_SLICES: Final = (3, 5, 10, 20)
"""Alerts that are evaluated on their own: those of the 3rd, 5th, ... detection."""

_FLOOR: Final = 1e-15
_ECE_BINS: Final = 15
_INTERVAL_PERCENT: Final = (2.5, 97.5)


def log_losses(
    probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> dict[str, float | None]:
    """Return the natural log-loss and the flat one (mean over classes), in nats."""
    k = probabilities.shape[1]
    own = probabilities[np.arange(len(label)), label].astype(np.float64)
    loss = -np.log(np.clip(own, _FLOOR, 1.0))
    counts = np.bincount(label, minlength=k)
    sums = np.bincount(label, weights=loss, minlength=k)
    flat = float(np.mean(sums / counts)) if counts.all() else None
    return {"log_loss": float(loss.mean()), "flat_log_loss": flat}


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> float:
    """Return the mean distance of confidence and accuracy in 15 equal bins of confidence."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == label
    bins = np.minimum((confidence * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence.astype(np.float64) - right, minlength=_ECE_BINS)
    return float(np.abs(gap).sum() / len(label))


def point_figures(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> dict[str, float | None]:
    """Return all scalar figures; ``auc_X`` is X against the rest, the rest are per class."""
    answer = probabilities.argmax(axis=1)
    rows = np.arange(len(classes))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        label, answer, labels=rows, zero_division=0.0
    )
    counts = np.bincount(label, minlength=len(classes))
    predicted = np.bincount(answer, minlength=len(classes))
    scalars: dict[str, float | None] = {
        **log_losses(probabilities, label),
        "accuracy": float(np.mean(answer == label)),
        "macro_f1": float(np.mean(f1)) if counts.all() else None,
        "ece": expected_calibration_error(probabilities, label),
    }
    for k, name in enumerate(classes):
        both = 0 < counts[k] < len(label)
        auc = metrics.roc_auc_score(label == k, probabilities[:, k]) if both else None
        scalars[f"auc_{name}"] = None if auc is None else float(auc)
        scalars[f"recall_{name}"] = float(recall[k]) if counts[k] else None
        scalars[f"precision_{name}"] = float(precision[k]) if predicted[k] else None
    return scalars


def figures(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    bootstrap: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Return every figure of probabilities [n, K] for labels [n] with a 95 % interval.

    The interval is the percentile bootstrap over the n objects; every object
    must occur once. ``confusion`` counts rows of true by columns of predicted classes.
    """
    rng = np.random.default_rng(seed)
    resampled: dict[str, list[float]] = {}
    # Checking the arguments is most of the time that scikit-learn takes here.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(bootstrap):
            rows = rng.integers(0, len(label), len(label))
            for name, value in point_figures(probabilities[rows], label[rows], classes).items():
                resampled.setdefault(name, []).extend([] if value is None else [value])
    result: dict[str, Any] = {"objects": len(label)}
    for name, value in point_figures(probabilities, label, classes).items():
        spread = resampled.get(name, [])
        low, high = np.percentile(spread, _INTERVAL_PERCENT).tolist() if spread else (None, None)
        triple = {"value": value, "low": low, "high": high}
        result[name] = {k: None if v is None else round(v, 5) for k, v in triple.items()}
    answer = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(label, answer, labels=np.arange(len(classes)))
    return {**result, "confusion": confusion.tolist()}


def by_detections(
    logits: Logits,
    curves: LightCurves,
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    temperature: float,
    bootstrap: int,
) -> dict[str, Any]:
    """Return the figures at the alert of the 3rd, 5th, 10th and 20th detection.

    Each counts only the objects that have so many: compare rows with care.
    """
    count = n_detections(curves)
    slices = {}
    for number in DETECTION_SLICES:
        rows = np.flatnonzero(count >= number)
        if len(rows):
            some = curves.take(rows)
            trigger = at_detection(some, np.full(len(rows), number - 1))
            answer = softmax(logits(some, trigger), temperature)
            slices[str(number)] = figures(answer, label[rows], classes, bootstrap)
    return slices


def evaluate(
    logits: Logits,
    curves: LightCurves,
    label: npt.NDArray[np.int64],
    classes: Sequence[str],
    temperature: float = 1.0,
    bootstrap: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of one part of a data set, one alert per object.

    At the last detection (all that alerts ever tell), at a random one (what a
    stream delivers), and at detections of fixed number.
    """
    rng = np.random.default_rng([seed, 5])
    triggers = {
        "last_detection": at_last_detection(curves),
        "random_detection": random_detection(curves, rng),
    }
    result: dict[str, Any] = {
        name: figures(softmax(logits(curves, trigger), temperature), label, classes, bootstrap)
        for name, trigger in triggers.items()
    }
    result["at_detection"] = by_detections(logits, curves, label, classes, temperature, bootstrap)
    return result
