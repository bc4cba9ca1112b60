"""One batch from the wire to its outcomes: decode, choose, classify."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.features import n_usable
from models.runtime import Classifier
from stream.alerts import AlertBatch, MessageBatch, NotClassifiedReason
from stream.clock import Clock, system_clock
from stream.decode import Decoder
from stream.duplicates import DuplicateWindow
from stream.metrics import Metrics
from stream.nested import NestedDecoder
from stream.output.outcomes import Outcomes

__all__ = ["Pipeline"]

_CLASSIFIED: Final = -1
_REASONS: Final = [str(reason) for reason in NotClassifiedReason]


class Pipeline:
    """Decode messages and classify their alerts.

    ``nested`` decodes those that an archive holds as nested columns, ``duplicates`` marks
    alerts that came before.
    """

    def __init__(
        self,
        decoder: Decoder,
        classifier: Classifier,
        metrics: Metrics,
        clock: Clock = system_clock,
        nested: NestedDecoder | None = None,
        duplicates: DuplicateWindow | None = None,
    ) -> None:
        self.classifier = classifier
        self._decoder = decoder
        self._nested = nested or NestedDecoder()
        self._duplicates = duplicates
        self._metrics = metrics
        self._clock = clock
        metrics.model(classifier.bundle)

    def process(self, messages: MessageBatch) -> Outcomes:
        """Return the outcome of every message and every alert in it."""
        return self.classify(messages, self._decode(messages))

    def classify(self, messages: MessageBatch, alerts: AlertBatch) -> Outcomes:
        """Return the outcomes of messages whose alerts are decoded already."""
        observations = n_usable(alerts.curves, alerts.trigger_mjd)
        reason = self._reasons(alerts, observations)
        asked = np.flatnonzero(reason == _CLASSIFIED)
        with self._metrics.stage("classify"):
            answers = self.classifier.predict(alerts.curves, alerts.trigger_mjd, asked)
        ood_score = np.full(len(alerts), np.nan, np.float32)
        ood_score[asked] = answers.ood_score
        limit = self.classifier.bundle.manifest.ood_threshold
        kept = np.ones(len(asked), np.bool_) if limit is None else answers.ood_score <= limit
        reason[asked[~kept]] = _REASONS.index(NotClassifiedReason.OUT_OF_DISTRIBUTION)
        names = pa.array(_REASONS, pa.string())
        return Outcomes(
            messages=messages,
            alerts=alerts,
            n_observations=observations,
            reason=pa.DictionaryArray.from_arrays(
                pa.array(reason, mask=reason == _CLASSIFIED), names
            ),
            classified=asked[kept],
            probabilities=answers.probabilities[kept],
            ood_score=ood_score,
            bundle=self.classifier.bundle,
            publish_ms=self._clock(),
            duplicate=self._marked(messages, alerts),
        )

    def _decode(self, messages: MessageBatch) -> AlertBatch:
        before, fallbacks = self._schema_look_ups(), self._decoder.fallbacks.copy()
        with self._metrics.stage("decode"):
            if messages.rows is not None:
                return self._nested.decode(messages.rows)
            alerts = self._decoder.decode(messages)
        self._metrics.schemas(*(self._schema_look_ups() - before).tolist())
        self._metrics.fallbacks(self._decoder.fallbacks - fallbacks)
        return alerts

    def _marked(self, messages: MessageBatch, alerts: AlertBatch) -> npt.NDArray[np.bool_] | None:
        return None if self._duplicates is None else self._duplicates.mark(messages, alerts)

    def _schema_look_ups(self) -> npt.NDArray[np.int64]:
        decoder = self._decoder
        return np.array(
            [decoder.schema_cache_hits, decoder.schema_cache_misses, decoder.schema_unknown]
        )

    def _reasons(
        self, alerts: AlertBatch, observations: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int8]:
        """Return the row of `_REASONS` that keeps each alert from the model, or `_CLASSIFIED`."""
        manifest = self.classifier.bundle.manifest
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
