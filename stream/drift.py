"""How far the alerts of a night are from what the model was validated on.

The measure is the population stability index, the sum of (a - e) ln(a / e) over bins, where e is
the share of the reference in the model's card in a bin and a that of the night. Below 0.1 nothing
has moved, above 0.25 much has (rule of thumb of credit scoring; Siddiqi, Credit Risk Scorecards,
2006).

A night is that of ``alert_time`` (`stream.clock.night_start_ms`), called by the date on which it
begins.

Notation: n alerts of a batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, DriftReference
from models.features import OBJECT_CHANNELS, object_channels
from models.runtime import golden_curves
from stream.clock import night_start_ms
from stream.model_metrics import ModelMetrics
from stream.output.outcomes import Outcomes, is_date

__all__ = ["Drift", "DriftReading", "stability_index"]

_MINIMUM: Final = 1000
_OOD_SCORE: Final = "ood_score"


@dataclass(frozen=True, slots=True)
class DriftReading:
    """What is known of a night so far. Indices are NaN until there are enough alerts."""

    night: str
    """YYYYMMDD"""
    alerts: int
    """Alerts of the night that the model was asked about."""
    features: Mapping[str, float]
    """Population stability index by feature."""
    classes: float
    """That of the most probable classes; NaN too if the card has no reference."""
    fractions: Mapping[str, tuple[float, float]]
    """By class: its share of the night's classified alerts, and of the reference."""


class Drift:
    """Compares the alerts of a night with the reference of the model that answers them.

    A new night and a new model begin anew. Nothing is said of fewer than ``minimum`` alerts.
    ``bundle`` is the first model.
    """

    def __init__(self, metrics: ModelMetrics, bundle: Bundle, minimum: int = _MINIMUM) -> None:
        self._metrics = metrics
        self._minimum = minimum
        self._tonight: _Night | None = None
        self.latest: DriftReading | None = None
        """What was last found; may be read from any thread."""
        # Compiles the kernel, so that the first batch is not late.
        object_channels(*golden_curves(bundle.manifest.golden[0]), np.zeros(1, np.int64))

    def observe(self, outcomes: Outcomes) -> None:
        """Add the alerts of a batch, all to the night that its messages came in."""
        asked = np.flatnonzero(~np.isnan(outcomes.ood_score))
        if not len(asked):
            return
        night = _night(outcomes)
        tonight = self._tonight
        if tonight is None or tonight.bundle is not outcomes.bundle or night > tonight.start_ms:
            tonight = self._tonight = _Night(night, outcomes.bundle)
            self._metrics.feature_drift.clear()
        # Messages of the night before come from partitions that lag; its count is closed.
        if night == tonight.start_ms:
            tonight.add(outcomes, asked)
            self._say(tonight.read(self._minimum))

    def _say(self, reading: DriftReading) -> None:
        self.latest = reading
        self._metrics.drift_alerts.set(reading.alerts)
        self._metrics.class_drift.set(reading.classes)
        for name, index in reading.features.items():
            self._metrics.feature_drift.labels(name).set(index)


class _Bins:
    """Bins between the quantiles of a reference, and what fell into them."""

    def __init__(self, levels: list[float], quantiles: list[float]) -> None:
        self._levels, self._edges = np.array(levels), np.array(quantiles)
        self._n = 0
        self._below = np.zeros(len(levels), np.int64)
        self._up_to = np.zeros(len(levels), np.int64)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        ordered = np.sort(values.astype(np.float64))
        self._n += len(ordered)
        self._below += np.searchsorted(ordered, self._edges, side="left")
        self._up_to += np.searchsorted(ordered, self._edges, side="right")

    def index(self) -> float:
        """Return the population stability index.

        Counts take few values, many of them on an edge, and quantiles do not say how many of the
        reference were on which side. They are divided as the reference would have it.
        """
        up_to = np.clip(self._levels, self._below / self._n, self._up_to / self._n)
        shares = np.diff(up_to, prepend=0.0, append=1.0)
        return stability_index(shares * self._n, np.diff(self._levels, prepend=0.0, append=1.0))


class _Night:
    """What is counted of one night and one model."""

    def __init__(self, start_ms: int, bundle: Bundle) -> None:
        self.start_ms = start_ms
        self.bundle = bundle
        reference = DriftReference.model_validate(bundle.card.drift_reference)
        known = {name: reference.inputs.get(name) for name in OBJECT_CHANNELS}
        self._features = {
            name: _Bins(reference.quantile_levels, found.quantiles)
            for name, found in {**known, _OOD_SCORE: reference.ood_score}.items()
            # What is the same in all of the reference has no bins.
            if found is not None and len(set(found.quantiles)) > 1
        }
        self._classes = [c.name for c in bundle.manifest.classes]
        self._expected = [reference.predicted_fractions.get(name, 0.0) for name in self._classes]
        self._predicted = np.zeros(len(self._classes), np.int64)
        self._alerts = 0

    def add(self, outcomes: Outcomes, asked: npt.NDArray[np.int64]) -> None:
        alerts = outcomes.alerts
        channels = object_channels(alerts.curves, alerts.trigger_mjd, asked)
        values = dict(zip(OBJECT_CHANNELS, channels.T, strict=True))
        values[_OOD_SCORE] = outcomes.ood_score[asked]
        for name, bins in self._features.items():
            bins.add(values[name])
        best = outcomes.probabilities.argmax(axis=1)
        self._predicted += np.bincount(best, minlength=len(self._classes))
        self._alerts += len(asked)

    def read(self, minimum: int) -> DriftReading:
        n_classified = int(self._predicted.sum())
        enough = self._alerts >= minimum
        shares = (self._predicted / max(n_classified, 1)).tolist()
        known = n_classified >= minimum and sum(self._expected) > 0
        begins = datetime.fromtimestamp(self.start_ms / 1000, UTC)
        return DriftReading(
            night=f"{begins:%Y%m%d}",
            alerts=self._alerts,
            features={
                name: bins.index() if enough else math.nan for name, bins in self._features.items()
            },
            classes=(
                stability_index(self._predicted, np.array(self._expected)) if known else math.nan
            ),
            fractions=dict(
                zip(self._classes, zip(shares, self._expected, strict=True), strict=True)
            ),
        )


def stability_index(counts: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]) -> float:
    """Return the population stability index of counts against the shares of a reference.

    Half an alert is added to every bin of both, so that an empty one does not make it infinite.
    """
    n, bins = counts.sum(), len(counts)
    actual = (counts + 0.5) / (n + 0.5 * bins)
    of_reference = (expected * n + 0.5) / (expected.sum() * n + 0.5 * bins)
    return float(((actual - of_reference) * np.log(actual / of_reference)).sum())


def _night(outcomes: Outcomes) -> int:
    """Return when the night that a batch came in began, Unix ms."""
    messages = outcomes.messages
    appended = messages.timestamp_ms[is_date(messages.timestamp_ms)]
    if not len(appended):
        return night_start_ms(messages.ingest_ms)
    # A sender's clock may be wrong: nothing comes from nights to come.
    return night_start_ms(min(int(np.median(appended)), messages.ingest_ms))
