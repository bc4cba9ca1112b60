"""The alerts of the validation part, on which epochs, temperatures and thresholds are chosen.

Notation: v alerts, K classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.augment import as_alerts, at_last_detection, random_detection
from models.datasets import LabelledCurves
from models.feature_sets import FeatureSet
from models.lightcurve import LightCurves
from models.networks import curve_scores
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["ValidationAlerts", "views_of"]


def views_of(
    curves: LightCurves, seed: int
) -> tuple[LightCurves, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return each curve as its alert at the last and at a random detection: what is judged on.

    The views, their triggers in days, and the row of the curve that each shows.
    """
    rng = np.random.default_rng([seed, 3])
    rows = np.tile(np.arange(len(curves)), 2)
    trigger = np.concatenate([at_last_detection(curves), random_detection(curves, rng)])
    return as_alerts(curves.take(rows), trigger, rng), trigger, rows


class ValidationAlerts:
    """The views of a validation part, and what networks answer to them."""

    def __init__(self, part: LabelledCurves, features: FeatureSet, seed: int) -> None:
        self.views, self.trigger_mjd, rows = views_of(part.curves, seed)
        self.label = part.label[rows]
        self._features = features

    def scores(self, network: Tiny | T2) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits [v, K] and ``ood_score`` [v] of a network."""
        return curve_scores(network, self._features, self.views, self.trigger_mjd)
