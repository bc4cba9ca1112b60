"""Metrics of changes of the model, of a candidate, and of drift."""

from __future__ import annotations

import math
from collections import Counter as Tally
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge

from models.bundle import Bundle
from stream.histogram import ArrayHistogram

__all__ = ["ModelMetrics"]

_SHIFT_BUCKETS: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


class ModelMetrics:
    """Beside `stream.metrics.Metrics`, in the same registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._define_changes(registry)
        self._define_shadow(registry)
        self._define_drift(registry)

    def _define_changes(self, registry: CollectorRegistry) -> None:
        self.swaps = Counter(
            "tinyt2_model_swaps", "Changes of the model that answers.", registry=registry
        )
        self.refusals = Counter(
            "tinyt2_model_refusals",
            "What the model store named and was not sound: current, candidate or its state file.",
            ["role"],
            registry=registry,
        )
        for role in ("current", "candidate", "state"):
            self.refusals.labels(role)
        self.pending = Gauge(
            "tinyt2_model_pending",
            "1 while the store's current model is not the one that answers: loading, or refused.",
            registry=registry,
        )

    def _define_shadow(self, registry: CollectorRegistry) -> None:
        self.shadow_info = Gauge(
            "tinyt2_shadow_info",
            "The candidate that is tried beside the model that answers; always 1.",
            ["name", "version", "sha256"],
            registry=registry,
        )
        self.shadow_alerts = Counter(
            "tinyt2_shadow_alerts",
            "Alerts that the model, its candidate or both classified, when both were asked.",
            ["sha256"],
            registry=registry,
        )
        self.shadow_agreements = Counter(
            "tinyt2_shadow_agreements",
            "Those of them with the same most probable class from both.",
            ["sha256"],
            registry=registry,
        )
        self.shadow_shift = ArrayHistogram(
            "tinyt2_shadow_probability_shift",
            "Half the sum of the absolute differences of an alert's probabilities, 0 to 1.",
            ["sha256"],
            buckets=_SHIFT_BUCKETS,
            registry=registry,
        )
        self.shadow_predicted = Counter(
            "tinyt2_shadow_predicted_class",
            "Alerts that the candidate classified, by most probable class.",
            ["sha256", "class"],
            registry=registry,
        )
        self.shadow_dropped = Counter(
            "tinyt2_shadow_dropped_alerts",
            "Alerts that the candidate was not asked about: it was busy.",
            ["sha256"],
            registry=registry,
        )

    def _define_drift(self, registry: CollectorRegistry) -> None:
        self.feature_drift = Gauge(
            "tinyt2_feature_drift",
            "Population stability index of tonight's values and the card's; NaN: too few alerts.",
            ["feature"],
            registry=registry,
        )
        self.class_drift = Gauge(
            "tinyt2_class_drift",
            "The same of the most probable classes; NaN: too few alerts, or not in the card.",
            registry=registry,
        )
        self.class_drift.set(math.nan)
        self.drift_alerts = Gauge(
            "tinyt2_drift_alerts", "Alerts of tonight that drift is told from.", registry=registry
        )

    def candidate(self, bundle: Bundle | None) -> None:
        """Name the candidate that is tried from now on; what was counted of others is dropped."""
        of_candidate = (
            *(self.shadow_alerts, self.shadow_agreements, self.shadow_shift),
            *(self.shadow_predicted, self.shadow_dropped),
        )
        for metric in (self.shadow_info, *of_candidate):
            metric.clear()
        if bundle is None:
            return
        self.shadow_info.labels(bundle.manifest.name, bundle.manifest.version, bundle.sha256).set(1)
        for metric in (self.shadow_alerts, self.shadow_agreements, self.shadow_dropped):
            metric.labels(bundle.sha256)

    def compared(
        self,
        bundle: Bundle,
        n: int,
        agreements: int,
        shift: npt.NDArray[np.float64],
        predicted: npt.NDArray[np.str_],
    ) -> None:
        """Count what a candidate answered; the numbers are those of `stream.shadow`."""
        self.shadow_alerts.labels(bundle.sha256).inc(n)
        self.shadow_agreements.labels(bundle.sha256).inc(agreements)
        self.shadow_shift.labels(bundle.sha256).observe_all(shift)
        for name, count in Tally(predicted.tolist()).items():
            self.shadow_predicted.labels(bundle.sha256, name).inc(count)
