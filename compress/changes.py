"""What changes in the answers to the same alerts when one model takes the place of another.

Paired: both models see the same resamples of objects, so that the interval of a
difference is that of the change and not that of the sample.

Notation: n alerts, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.answers import Alerts, Answers, Served, answer, shared
from models.augment import carried_by_alerts
from models.datasets import LabelledCurves
from models.errors import DataError
from models.evaluate import resampled_figures
from models.evaluate_bundle import EvaluationConfig, moments_of
from models.resampling import interval, resample
from models.runtime import Classifier

__all__ = ["BOOTSTRAP", "OVERALL", "Change", "Changes", "Interval", "changes", "judged"]

BOOTSTRAP: Final = 500
"""Resamples of objects per interval."""

OVERALL: Final = {"log_loss": "log-loss", "flat_log_loss": "flat log-loss", "ece": "ECE"}
"""Figures of all classes together that are always shown, and what they are called."""

Interval = Mapping[str, float | None]
"""``value`` with the bounds ``low`` and ``high`` of its 95 % interval; None: not defined."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of merit of both models, and its paired difference, after - before."""

    before: Interval
    after: Interval
    difference: Interval

    def beyond(self, limit: float) -> bool:
        """Tell whether the figure rose by more than ``limit``, and by more than chance.

        One that is not defined is beyond any limit.
        """
        value, low = self.difference["value"], self.difference["low"]
        return value is None or (value > limit and (low is None or low > 0))

    def below(self, limit: float) -> bool:
        """Tell whether the figure fell by more than ``limit``, and by more than chance."""
        value, high = self.difference["value"], self.difference["high"]
        return value is not None and -value > limit and (high is None or high < 0)

    def texts(self) -> tuple[str, str, str]:
        """Return before, after, and the difference with its interval, for a table."""
        before, after = (_number(figure["value"], ".4f") for figure in (self.before, self.after))
        low, high = (_number(self.difference[side], "+.4f") for side in ("low", "high"))
        spread = "" if self.difference["low"] is None else f" ({low}..{high})"
        return before, after, _number(self.difference["value"], "+.4f") + spread


@dataclass(frozen=True, slots=True)
class Changes:
    """All figures of merit of two models on the alerts that both answer."""

    alerts: int
    objects: int
    agreement: float
    """Part of the alerts with the same most probable class."""
    figures: Mapping[str, Change]
    """By the names of `models.evaluate.resampled_figures`."""
    counts: Mapping[str, int]
    """Alerts of each class that occurs, in the order of the model before."""
    called: Mapping[str, tuple[float, float]]
    """Part of the alerts that each class is the most probable one of, before and after."""

    def recall(self, name: str) -> Change:
        """Return the recall of a class."""
        return self.figures[f"recall_{name}"]

    @property
    def worst_class(self) -> str:
        """Return the class whose recall fell most (or rose least)."""
        return min(self.counts, key=lambda name: self.recall(name).difference["value"] or 0.0)


def judged(classifier: Classifier, data: LabelledCurves, seed: int = 0) -> Answers:
    """Return a model's answers to the last and to a random alert of every object.

    The same ``seed`` gives the same alerts: to compare models on.
    """
    moments = moments_of(data, EvaluationConfig(seed=seed, detections=(), days=())).values()
    alerts = Alerts(
        np.concatenate([some.curve for some in moments]),
        np.concatenate([some.trigger_mjd for some in moments]),
    )
    return answer(Served(classifier), data, alerts, carried_by_alerts(seed))


def changes(before: Answers, after: Answers, bootstrap: int = BOOTSTRAP, seed: int = 0) -> Changes:
    """Compare the answers of two models; `DataError` when they share no alert or class."""
    before, after = shared(before, after)
    if not len(before):
        raise DataError("the models share no alert of a class that both know", before.classes)
    present, resamples = before.present, resample(before.object_id, bootstrap, seed)
    old, new = (
        resampled_figures(some.probabilities, some.label, some.classes, resamples, present)
        for some in (before, after)
    )
    names = [before.classes[row] for row in present]
    absent = set(before.classes) - set(names)
    called = [some.probabilities.argmax(axis=1) for some in (before, after)]
    return Changes(
        alerts=len(before),
        objects=resamples.n_objects,
        agreement=float(np.mean(called[0] == called[1])),
        figures={
            name: Change(interval(old[name]), interval(new[name]), interval(new[name] - old[name]))
            for name in old
            if not any(name.endswith(f"_{one}") for one in absent)
        },
        counts={before.classes[row]: int(np.sum(before.label == row)) for row in present},
        called={
            name: (float(np.mean(called[0] == row)), float(np.mean(called[1] == row)))
            for row, name in enumerate(before.classes)
        },
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
