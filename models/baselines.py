"""The classifier that every network must beat: randomised trees on summary features.

Extremely randomised trees: Geurts, Ernst & Wehenkel 2006, Machine Learning 63, 3.

Notation: n curves, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.lightcurve import LightCurves
from models.summary import summary_features

__all__ = ["ExtraTrees", "fit_extra_trees"]

_TREES: Final = 400
_LEAF: Final = 3
_FEATURES: Final = 0.2
_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class ExtraTrees:
    """Trees that were fitted to light curves at triggers."""

    forest: Any
    """`sklearn.ensemble.ExtraTreesClassifier`; it knows the classes that occurred."""
    n_classes: int

    def predict(
        self, curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities of curves at their triggers, [n, K]."""
        probabilities = np.zeros((len(curves), self.n_classes))
        for start in range(0, len(curves), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(curves)))
            features = summary_features(curves.take(rows), trigger_mjd[rows])
            probabilities[rows[:, None], self.forest.classes_] = self.forest.predict_proba(features)
        return probabilities


def fit_extra_trees(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    label: npt.NDArray[np.int64],
    n_classes: int,
    seed: int,
    trees: int = _TREES,
    jobs: int = 1,
) -> ExtraTrees:
    """Fit trees to curves at their triggers [n] with labels [n]; the same seed, the same trees.

    Leaves hold at least three curves, whose fractions of classes are averaged and,
    smoothed, never 0: the log-loss of pure leaves would be that of their certainty.
    `DataError` for labels that are not one per curve, within the classes.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    if len(label) != len(curves) or not len(label):
        raise DataError(f"{len(label)} labels for {len(curves)} curves", len(label))
    if label.min() < 0 or label.max() >= n_classes:
        raise DataError(f"labels must lie within 0 and {n_classes - 1}", label)
    forest = ExtraTreesClassifier(
        n_estimators=trees,
        min_samples_leaf=_LEAF,
        max_features=_FEATURES,
        n_jobs=jobs,
        random_state=seed,
    )
    forest.fit(summary_features(curves, trigger_mjd), label)
    return ExtraTrees(forest, n_classes)
