"""Find one class: where to cut its probability, and what such a cut keeps.

A follow-up programme wants a sample of one class with a stated purity. How pure
a cut is depends on the mix of classes in the sky; with all classes equally
frequent the figure is the property of the classifier alone.

Notation: n alerts, K classes, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.resampling import interval, resample, weighted_counts

__all__ = [
    "MINIMUM_DETECTIONS",
    "Threshold",
    "rate_above",
    "threshold_at_precision",
]

MINIMUM_DETECTIONS: Final = (1, 3, 5, 10, 20)
"""Alerts with at least so many detections are counted on their own."""

_ROUNDING: Final = 1e-12
"""Error of the sums of weights: a precision that is met exactly counts as met."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A cut in the probability of one class and what it does where it was chosen."""

    probability: float
    """Alerts at or above it are called the class."""
    precision: float
    """With all classes of the sample equally frequent."""
    recall: float


def threshold_at_precision(
    probability: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    row: int,
    precision: float,
) -> Threshold | None:
    """Return the cut with the highest recall of class ``row`` at a class-balanced precision.

    ``probability`` [n] is that of the class. Alerts count such that each class of
    ``label`` [n] has the same weight. None where no cut is so precise, or the
    class does not occur. `ConfigurationError` for a precision outside 0 .. 1.
    """
    if not 0 <= precision <= 1:
        raise ConfigurationError(f"a precision lies within 0 and 1, not at {precision}", precision)
    order = np.argsort(-probability, kind="stable")
    ordered, weight = probability[order], 1.0 / np.bincount(label)[label[order]]
    positive = label[order] == row
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(order)]
    hits = np.cumsum(weight * positive)[last]
    reached = hits / np.cumsum(weight)[last]
    good = np.flatnonzero((reached >= precision - _ROUNDING) & (hits > 0))
    if not len(good):
        return None
    best = good[-1]
    return Threshold(float(ordered[last][best]), float(reached[best]), float(hits[best]))


def rate_above(
    probability: npt.NDArray[np.floating],
    threshold: float,
    object_id: npt.NDArray[np.integer],
    bootstrap: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the fraction of alerts at or above a threshold, with its 95 % interval by object.

    Of alerts of the class this is the recall, of those of others the false
    positive rate. None where there are no alerts.
    """
    if not len(probability):
        return {"objects": 0, "alerts": 0, "value": None, "low": None, "high": None}
    resamples = resample(object_id, bootstrap, seed)
    counts = weighted_counts(resamples, (probability >= threshold).astype(np.int64), 2)
    rate = interval(counts[:, 1] / counts.sum(axis=1))
    return {"objects": resamples.n_objects, "alerts": len(probability), **rate}
