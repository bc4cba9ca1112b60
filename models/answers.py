"""What a model answers to the alerts of a labelled data set.

Only what would be served counts: objects without a detection send no alert,
and alerts with fewer observations than the model needs get no answer.

Notation: n alerts, K classes of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from models.datasets import LabelledCurves
from models.errors import DataError
from models.features import n_usable
from models.lightcurve import LightCurves
from models.runtime import Classifier, Predictions

__all__ = [
    "UNKNOWN",
    "Alerts",
    "Answering",
    "Answers",
    "Carried",
    "Served",
    "answer",
    "everything",
    "restricted",
    "shared",
]

UNKNOWN: Final = -1
"""Label of objects whose class the model does not have."""

Carried = Callable[[LightCurves, npt.NDArray[np.float64]], LightCurves]
"""What alerts carry of curves at their triggers: the same n curves with fewer observations."""


def everything(curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]) -> LightCurves:
    """Return the curves as they are: alerts carry all that was measured before."""
    return curves


class Answering(Protocol):
    """Anything that answers alerts with class probabilities."""

    @property
    def about(self) -> dict[str, Any]:
        """Say what it is: ``name``, ``version``, ``sha256``, ``bytes``, ``training_data``, ..."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of its K classes."""
        ...

    @property
    def minimum_observations(self) -> int:
        """Return how many observations an alert needs to be answered."""
        ...

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Predictions:
        """Classify the given rows of curves at their triggers."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle as the service runs it."""

    classifier: Classifier

    @property
    def about(self) -> dict[str, Any]:
        """Say which bundle it is."""
        bundle = self.classifier.bundle
        return {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "sha256": bundle.sha256,
            "bytes": bundle.n_bytes,
            "training_data": bundle.manifest.training_data,
            "notice": bundle.manifest.notice,
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the manifest's classes."""
        return tuple(known.name for known in self.classifier.bundle.manifest.classes)

    @property
    def minimum_observations(self) -> int:
        """Return the manifest's number."""
        return self.classifier.bundle.manifest.minimum_observations

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Predictions:
        """Classify the given rows of curves at their triggers."""
        return self.classifier.predict(curves, trigger_mjd, rows)


@dataclass(frozen=True, slots=True)
class Alerts:
    """Alerts of some curves of a data set: which curve, and when."""

    curve: npt.NDArray[np.int64]
    """[n] row of the data set."""
    trigger_mjd: npt.NDArray[np.float64]
    """[n] time of the triggering detection, days."""

    def __len__(self) -> int:
        return len(self.curve)


@dataclass(frozen=True, slots=True)
class Answers:
    """n alerts that a model answered, and the truth about them."""

    classes: tuple[str, ...]
    """K names of the model's classes."""
    alerts: Alerts
    row: npt.NDArray[np.int64]
    """[n] row among the alerts that the model was asked about."""
    probabilities: npt.NDArray[np.float64]
    """[n, K]"""
    ood_score: npt.NDArray[np.float64]
    """[n] higher = less like the training data."""
    label: npt.NDArray[np.int64]
    """[n] row of ``classes``, `UNKNOWN` for objects of other classes."""
    object_id: npt.NDArray[np.int64]
    """[n] alerts with the same one are resampled together."""
    count: npt.NDArray[np.int64]
    """[n] detections up to and including the alert."""
    survey: npt.NDArray[np.str_]
    """[n] key of the survey."""
    refused: int
    """Alerts with too few observations to be answered; they are not among the n."""

    def __len__(self) -> int:
        return len(self.label)

    def where(self, rows: npt.NDArray[np.bool_]) -> Answers:
        """Return only the alerts where ``rows`` [n] is True."""
        return Answers(
            classes=self.classes,
            alerts=Alerts(self.alerts.curve[rows], self.alerts.trigger_mjd[rows]),
            row=self.row[rows],
            probabilities=self.probabilities[rows],
            ood_score=self.ood_score[rows],
            label=self.label[rows],
            object_id=self.object_id[rows],
            count=self.count[rows],
            survey=self.survey[rows],
            refused=self.refused,
        )

    @property
    def known(self) -> Answers:
        """Return the alerts of the classes that the model has."""
        return self.where(self.label != UNKNOWN)

    @property
    def present(self) -> npt.NDArray[np.int64]:
        """Return the rows of ``classes`` that have alerts."""
        return np.unique(self.label[self.label != UNKNOWN])


def answer(
    model: Answering,
    data: LabelledCurves,
    alerts: Alerts,
    carried: Carried = everything,
    detected: bool = True,
) -> Answers:
    """Classify alerts of a data set.

    ``carried`` says what alerts hold of the curves. `DataError` for an alert before the
    first detection, unless ``detected`` is False.
    """
    complete = data.curves.take(alerts.curve)
    count = _detections(complete, alerts.trigger_mjd)
    if detected and not count.all():
        raise DataError(f"{np.sum(count == 0)} alerts of {data.name} have no detection", data.name)
    curves = carried(complete, alerts.trigger_mjd)
    enough = n_usable(curves, alerts.trigger_mjd) >= model.minimum_observations
    rows = np.flatnonzero(enough)
    predictions = model.predict(curves, alerts.trigger_mjd, rows)
    some = Alerts(alerts.curve[rows], alerts.trigger_mjd[rows])
    return Answers(
        classes=model.classes,
        alerts=some,
        row=rows,
        probabilities=predictions.probabilities.astype(np.float64),
        ood_score=predictions.ood_score.astype(np.float64),
        label=_labels(data, model.classes)[some.curve],
        object_id=data.object_id[some.curve],
        count=count[rows],
        survey=curves.survey[rows],
        refused=len(alerts) - len(rows),
    )


def restricted(
    probabilities: npt.NDArray[np.floating], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return probabilities [n, R] given that the class is one of ``rows`` [R].

    Where the model excludes all of these, they are equally likely.
    """
    some = probabilities[:, rows].astype(np.float64)
    total = some.sum(axis=1, keepdims=True)
    return np.where(total > 0, some / np.where(total > 0, total, 1.0), 1.0 / len(rows))


def shared(a: Answers, b: Answers) -> tuple[Answers, Answers]:
    """Return the answers of two models to the alerts that both answer, of those both were asked.

    Both given that the class is one that both know, in the order of ``a``.
    """
    both = [name for name in a.classes if name in b.classes]
    a, b = _among(a, both), _among(b, both)
    return a.where(np.isin(a.row, b.row)), b.where(np.isin(b.row, a.row))


def _among(answers: Answers, classes: list[str]) -> Answers:
    """Return the answers given that the class is one of ``classes``, in that order."""
    rows = np.array([answers.classes.index(name) for name in classes], np.int64)
    known = answers.where(np.isin(answers.label, rows))
    label = np.array([classes.index(known.classes[row]) for row in known.label], np.int64)
    return replace(
        known,
        classes=tuple(classes),
        probabilities=restricted(known.probabilities, rows),
        label=label,
    )


def _labels(data: LabelledCurves, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    rows = [classes.index(name) if name in classes else UNKNOWN for name in data.classes]
    return np.array(rows, np.int64)[data.label]


def _detections(curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count the detections up to and including the triggers, [n]."""
    seen = curves.detected & (curves.mjd <= np.repeat(trigger_mjd, curves.n_observations))
    total = np.zeros(len(seen) + 1, np.int64)
    np.cumsum(seen, out=total[1:])
    return np.diff(total[curves.splits])
