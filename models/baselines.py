"""The classifier that every network must beat: randomised trees on summary features.

Extremely randomised trees: Geurts, Ernst & Wehenkel 2006, Machine Learning 63, 3.

Notation: n curves, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.calibrate import fit_temperature, softmax
from models.errors import DataError
from models.lightcurve import LightCurves
from models.summary import summary_features

__all__ = ["ExtraTrees", "fit_extra_trees"]

_TREES: Final = 300
_LEAF: Final = 2
_FEATURES: Final = 0.2
_CHUNK: Final = 65536
_HELD_OUT: Final = 5
"""One object in so many is held out to find the temperature."""
_FLOOR: Final = 1e-3
"""Share of the mix of classes in each answer: no class that occurred is impossible."""


@dataclass(frozen=True, slots=True)
class ExtraTrees:
    """Trees that were fitted to light curves at triggers, with a temperature."""

    forest: Any
    """`sklearn.ensemble.ExtraTreesClassifier`; it knows the classes that occurred."""
    mix: npt.NDArray[np.float64]
    """[K] fractions of the classes that it was fitted to."""
    temperature: float = 1.0

    def predict(
        self, curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities of curves at their triggers, [n, K]."""
        probabilities = np.zeros((len(curves), len(self.mix)))
        occurred = np.flatnonzero(self.mix)
        for start in range(0, len(curves), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(curves)))
            features = summary_features(curves.take(rows), trigger_mjd[rows])
            answers = softmax(self.logits(features), self.temperature)
            probabilities[rows[:, None], occurred] = answers
        return probabilities

    def logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the logarithm of the mean answer of the trees, of the classes that occurred."""
        share = np.zeros((len(features), len(self.mix)))
        share[:, self.forest.classes_] = self.forest.predict_proba(features)
        mixed = (1 - _FLOOR) * share + _FLOOR * self.mix
        return np.asarray(np.log(mixed[:, self.mix > 0]))


def fit_extra_trees(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    label: npt.NDArray[np.int64],
    n_classes: int,
    seed: int,
    object_id: npt.NDArray[np.integer] | None = None,
    trees: int = _TREES,
    jobs: int = 1,
) -> ExtraTrees:
    """Fit trees to curves at their triggers [n] with labels [n]; the same seed, the same trees.

    The mean answer of trees is too timid: a temperature is found with trees that did not
    see a fifth of the objects, then all are fitted. ``object_id`` [n] keeps the alerts of an
    object together there. `DataError` for labels that are not one per curve, within the classes.
    """
    if len(label) != len(curves) or not len(label):
        raise DataError(f"{len(label)} labels for {len(curves)} curves", len(label))
    if label.min() < 0 or label.max() >= n_classes:
        raise DataError(f"labels must lie within 0 and {n_classes - 1}", label)
    ids = np.arange(len(label)) if object_id is None else object_id
    features = summary_features(curves, trigger_mjd)
    mix = np.bincount(label, minlength=n_classes) / len(label)
    held = _held_out(ids, seed)
    temperature = 1.0
    if held.any() and not held.all():
        some = ExtraTrees(_fit(features[~held], label[~held], seed, trees, jobs), mix)
        rows = np.searchsorted(np.flatnonzero(mix), label[held])
        temperature = fit_temperature(some.logits(features[held]), rows)
    return ExtraTrees(_fit(features, label, seed, trees, jobs), mix, temperature)


def _held_out(object_id: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.bool_]:
    unique, row = np.unique(object_id, return_inverse=True)
    order = np.random.default_rng([seed, 7]).permutation(len(unique))
    return np.asarray(order[row] < len(unique) // _HELD_OUT)


def _fit(
    features: npt.NDArray[np.float32],
    label: npt.NDArray[np.int64],
    seed: int,
    trees: int,
    jobs: int,
) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(
        n_estimators=trees,
        min_samples_leaf=_LEAF,
        max_features=_FEATURES,
        n_jobs=jobs,
        random_state=seed,
    )
    return forest.fit(features, label)
