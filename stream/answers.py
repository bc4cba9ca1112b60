"""What a model says of each alert of a batch, or why it was not asked.

Notation: n alerts, c of them classified, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.bundle import Manifest
from models.features import n_usable
from models.runtime import Classifier
from stream.alerts import AlertBatch, NotClassifiedReason

__all__ = ["Answers", "answer"]

_CLASSIFIED: Final = -1
_REASONS: Final = [str(reason) for reason in NotClassifiedReason]


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of n alerts."""

    n_observations: npt.NDArray[np.int64]
    """[n] usable observations."""
    reason: pa.DictionaryArray
    """[n] values of `NotClassifiedReason`; null = classified."""
    classified: npt.NDArray[np.int64]
    """[c] rows of the alerts that were classified, in order."""
    probabilities: npt.NDArray[np.float32]
    """[c, K]"""
    ood_score: npt.NDArray[np.float32]
    """[n] NaN for alerts that the model was not asked about."""


def answer(classifier: Classifier, alerts: AlertBatch) -> Answers:
    """Ask a model about the alerts that it is meant for."""
    manifest = classifier.bundle.manifest
    observations = n_usable(alerts.curves, alerts.trigger_mjd)
    reason = _reasons(manifest, alerts, observations)
    asked = np.flatnonzero(reason == _CLASSIFIED)
    answers = classifier.predict(alerts.curves, alerts.trigger_mjd, asked)
    ood_score = np.full(len(alerts), np.nan, np.float32)
    ood_score[asked] = answers.ood_score
    limit = manifest.ood_threshold
    kept = np.ones(len(asked), np.bool_) if limit is None else answers.ood_score <= limit
    reason[asked[~kept]] = _REASONS.index(NotClassifiedReason.OUT_OF_DISTRIBUTION)
    return Answers(
        n_observations=observations,
        reason=pa.DictionaryArray.from_arrays(
            pa.array(reason, mask=reason == _CLASSIFIED), pa.array(_REASONS, pa.string())
        ),
        classified=asked[kept],
        probabilities=answers.probabilities[kept],
        ood_score=ood_score,
    )


def _reasons(
    manifest: Manifest, alerts: AlertBatch, observations: npt.NDArray[np.int64]
) -> npt.NDArray[np.int8]:
    """Return the row of `_REASONS` that keeps each alert from the model, or `_CLASSIFIED`."""
    supported = pc.is_in(alerts.survey.dictionary, pa.array(manifest.surveys, pa.string()))
    applies = {
        NotClassifiedReason.TOO_FEW_OBSERVATIONS: observations < manifest.minimum_observations,
        NotClassifiedReason.SOLAR_SYSTEM: alerts.solar_system,
        NotClassifiedReason.SURVEY_NOT_SUPPORTED: ~np.asarray(
            supported.take(alerts.survey.indices)
        ),
    }
    code = np.full(len(alerts), _CLASSIFIED, np.int8)
    # Of several reasons the last one is given.
    for reason, rows in applies.items():
        code[rows] = _REASONS.index(reason)
    return code
