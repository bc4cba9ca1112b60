"""One batch from the wire to its outcomes: decode, choose, classify."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.runtime import Classifier
from stream.alerts import AlertBatch, MessageBatch
from stream.answers import answer
from stream.clock import Clock, system_clock
from stream.decode import Decoder
from stream.duplicates import DuplicateWindow
from stream.metrics import Metrics
from stream.nested import NestedDecoder
from stream.output.outcomes import Outcomes

__all__ = ["Pipeline"]


class Pipeline:
    """Decode messages and classify their alerts.

    ``nested`` decodes those that an archive holds as nested columns, ``duplicates`` marks
    alerts that came before. ``classifier`` may be set from another thread: the next batch takes
    the new one, and each batch has one from beginning to end.
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
        self._decoder = decoder
        self._nested = nested or NestedDecoder()
        self._duplicates = duplicates
        self._metrics = metrics
        self._clock = clock
        self.classifier = classifier

    @property
    def classifier(self) -> Classifier:
        """Return the model that answers the next batch."""
        return self._classifier

    @classifier.setter
    def classifier(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._metrics.model(classifier.bundle)

    def process(self, messages: MessageBatch) -> Outcomes:
        """Return the outcome of every message and every alert in it."""
        return self.classify(messages, self._decode(messages))

    def classify(self, messages: MessageBatch, alerts: AlertBatch) -> Outcomes:
        """Return the outcomes of messages whose alerts are decoded already."""
        classifier = self.classifier
        with self._metrics.stage("classify"):
            answers = answer(classifier, alerts)
        return Outcomes(
            messages=messages,
            alerts=alerts,
            n_observations=answers.n_observations,
            reason=answers.reason,
            classified=answers.classified,
            probabilities=answers.probabilities,
            ood_score=answers.ood_score,
            bundle=classifier.bundle,
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
