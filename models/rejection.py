"""Refuse what a model was not made for, by its out-of-distribution score.

Solar-system objects, artefacts and classes without a name in the model should
be `not classified` rather than called a supernova. A threshold on the score
costs some of the objects that the model knows and should keep the others out.

Scores are higher for what is less like the training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError, DataError
from models.resampling import Resamples, interval, ranking, resample, weighted_counts

__all__ = ["KEPT", "rejected", "rejection_figures", "rejection_threshold"]

KEPT: Final = (0.99, 0.95)
"""Fractions of known alerts that are kept, at which rejection is measured."""

Scores = npt.NDArray[np.floating]


def rejection_threshold(score_in: Scores, keep: float = 0.99) -> float:
    """Return the score up to which the fraction ``keep`` of alerts of known classes lies.

    `rejected` says what is beyond it. `ConfigurationError` for a fraction outside 0 .. 1,
    `DataError` without scores.
    """
    if not 0 < keep <= 1:
        raise ConfigurationError(f"the fraction to keep lies within 0 and 1, not at {keep}", keep)
    if not len(score_in):
        raise DataError("a rejection threshold needs alerts of known classes", score_in)
    return float(np.quantile(score_in, keep, method="higher"))


def rejected(score: Scores, threshold: float) -> npt.NDArray[np.bool_]:
    """Return which alerts [n] are less like the training data than the threshold allows."""
    return np.asarray(score > threshold)


def rejection_figures(
    score_in: Scores,
    score_out: Scores,
    kind: npt.NDArray[np.int64],
    kinds: Sequence[str],
    object_in: npt.NDArray[np.integer] | None = None,
    object_out: npt.NDArray[np.integer] | None = None,
    bootstrap: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how well the score tells unknown from known alerts, in all and by kind.

    ``kind`` says which of ``kinds`` each unknown alert is. For each: ``auc`` of the score,
    and the fractions ``rejected_at_0.99`` and ``_0.95`` of unknown alerts beyond the
    threshold that keeps so many known ones; with 95 % intervals by object.
    """
    thresholds = {str(keep): rejection_threshold(score_in, keep) for keep in KEPT}
    known = _ids(object_in, len(score_in))
    unknown = _ids(object_out, len(score_out))
    members = {name: kind == row for row, name in enumerate(kinds)}
    chosen = {"all": np.ones(len(kind), np.bool_), **{k: m for k, m in members.items() if m.any()}}
    result: dict[str, Any] = {"thresholds": thresholds, "known_alerts": len(score_in)}
    for name, rows in chosen.items():
        # Objects of both samples may share numbers: the known ones get even, the others odd.
        ids = np.concatenate([2 * known, 2 * unknown[rows] + 1])
        score = np.concatenate([score_in, score_out[rows]])
        positive = np.arange(len(ids)) >= len(known)
        drawn = resample(ids, bootstrap, seed)
        result[name] = _separation(drawn, score, positive, thresholds)
    return result


def _separation(
    drawn: Resamples,
    score: Scores,
    positive: npt.NDArray[np.bool_],
    thresholds: dict[str, float],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "alerts": int(positive.sum()),
        "auc": interval(ranking(drawn, score, positive)[0]),
    }
    only = drawn.of(positive)
    for keep, threshold in thresholds.items():
        beyond = rejected(score[positive], threshold).astype(np.int64)
        counts = weighted_counts(only, beyond, 2)
        total = counts.sum(axis=1)
        rate = np.where(total > 0, counts[:, 1] / np.maximum(total, 1), np.nan)
        entry[f"rejected_at_{keep}"] = interval(rate)
    return entry


def _ids(object_id: npt.NDArray[np.integer] | None, n: int) -> npt.NDArray[np.int64]:
    if object_id is None:
        return np.arange(n)
    return np.asarray(np.unique(object_id, return_inverse=True)[1], np.int64)
