"""One batch from the wire to its outcomes: decode, choose, classify."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.features import n_usable
from models.runtime import Classifier
from stream.alerts import AlertBatch, MessageBatch, NotClassifiedReason
from stream.clock import Clock, system_clock
from stream.decode import Decoder
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes

__all__ = ["Pipeline"]


class Pipeline:
    """Decode messages and classify their alerts."""

    def __init__(
        self,
        decoder: Decoder,
        classifier: Classifier,
        metrics: Metrics,
        clock: Clock = system_clock,
    ) -> None:
        self.classifier = classifier
        self._decoder = decoder
        self._metrics = metrics
        self._clock = clock
        metrics.model(classifier.bundle)

    def process(self, messages: MessageBatch) -> Outcomes:
        """Return the outcome of every message and every alert in it."""
        before = self._schema_look_ups()
        with self._metrics.stage("decode"):
            alerts = self._decoder.decode(messages)
        self._metrics.schemas(*(self._schema_look_ups() - before).tolist())
        observations = n_usable(alerts.curves, alerts.trigger_mjd)
        reason = self._reasons(alerts, observations)
        classified = np.flatnonzero([r is None for r in reason])
        with self._metrics.stage("classify"):
            predictions = self.classifier.predict(alerts.curves, alerts.trigger_mjd, classified)
        return Outcomes(
            messages=messages,
            alerts=alerts,
            n_observations=observations,
            reason=reason,
            classified=classified,
            predictions=predictions,
            bundle=self.classifier.bundle,
            publish_ms=self._clock(),
        )

    def _schema_look_ups(self) -> npt.NDArray[np.int64]:
        decoder = self._decoder
        return np.array(
            [decoder.schema_cache_hits, decoder.schema_cache_misses, decoder.schema_unknown]
        )

    def _reasons(
        self, alerts: AlertBatch, observations: npt.NDArray[np.int64]
    ) -> list[NotClassifiedReason | None]:
        manifest = self.classifier.bundle.manifest
        reasons = np.full(len(alerts), None, object)
        reasons[observations < manifest.minimum_observations] = (
            NotClassifiedReason.TOO_FEW_OBSERVATIONS
        )
        reasons[alerts.solar_system] = NotClassifiedReason.SOLAR_SYSTEM
        reasons[[s not in manifest.surveys for s in alerts.survey]] = (
            NotClassifiedReason.SURVEY_NOT_SUPPORTED
        )
        return reasons.tolist()
