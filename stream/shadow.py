"""A shadow model: a candidate is asked about the same alerts, and compared with the current one.

It is asked on a thread of its own, as far as there is time: batches that come while it is busy
are dropped and counted. Its answers go nowhere but into metrics.

Notation: n alerts, c of them classified, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Final

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.lightcurve import LightCurves
from models.runtime import Classifier, Predictions
from stream.alerts import AlertBatch
from stream.answers import answer
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pace import Pace

__all__ = ["Classified", "Comparison", "Shadow", "compare"]

_WAITING: Final = 2
"""Batches that wait at most."""
_SHARE: Final = 0.25
"""Of one core."""
_PIECE: Final = 32
"""Alerts between two rests."""
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Classified:
    """What a model answered."""

    bundle: Bundle
    rows: npt.NDArray[np.int64]
    """[c] which alerts of the batch, in order."""
    probabilities: npt.NDArray[np.float32]
    """[c, K]"""

    @property
    def predicted(self) -> npt.NDArray[np.str_]:
        """Return the most probable class of each, [c]."""
        names = np.array([c.name for c in self.bundle.manifest.classes])
        best: npt.NDArray[np.str_] = names[self.probabilities.argmax(axis=1)]
        return best


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the answers of two models to the same alerts differ."""

    n: int
    """Alerts that one of them or both classified."""
    agreements: int
    """Of these, those with the same most probable class from both."""
    shift: npt.NDArray[np.float64]
    """Of each alert that both classified, half the sum of the absolute differences of its
    probabilities: 0 = same, 1 = nothing in common."""


def compare(current: Classified, candidate: Classified) -> Comparison:
    """Compare the answers of two models, whose classes may be others."""
    both, a, b = np.intersect1d(
        current.rows, candidate.rows, assume_unique=True, return_indices=True
    )
    names = {c.name for of in (current, candidate) for c in of.bundle.manifest.classes}
    place = {name: i for i, name in enumerate(sorted(names))}
    difference = np.zeros((len(both), len(place)))
    for of, rows, sign in ((current, a, 1.0), (candidate, b, -1.0)):
        columns = [place[c.name] for c in of.bundle.manifest.classes]
        difference[:, columns] += sign * of.probabilities[rows]
    return Comparison(
        n=len(current.rows) + len(candidate.rows) - len(both),
        agreements=int((current.predicted[a] == candidate.predicted[b]).sum()),
        shift=np.abs(difference).sum(axis=1) / 2,
    )


class Shadow:
    """Asks a candidate about the alerts of the batches that it is offered."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.models
        self._background = metrics.background
        self._candidate: Classifier | None = None
        self._queue: Queue[tuple[AlertBatch, Classified]] = Queue(_WAITING)
        self._stop = Event()
        self._thread = Thread(target=self._run, name="shadow", daemon=True)

    @property
    def candidate(self) -> Classifier | None:
        """Return the model that is tried."""
        return self._candidate

    def follow(self, candidate: Classifier | None) -> None:
        """Try another candidate from now on, or none."""
        self._candidate = candidate
        self._metrics.candidate(None if candidate is None else candidate.bundle)

    def start(self) -> None:
        """Begin to work on what is offered."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stop.set()
        self._thread.join()

    def offer(self, outcomes: Outcomes) -> None:
        """Take the outcomes of a batch if there is room; returns at once."""
        if (candidate := self._candidate) is None:
            return
        # Not the messages: their bytes are many times those of the light curves.
        current = Classified(outcomes.bundle, outcomes.classified, outcomes.probabilities)
        try:
            self._queue.put_nowait((outcomes.alerts, current))
        except Full:
            self._metrics.shadow_dropped.labels(candidate.bundle.sha256).inc(len(outcomes.alerts))

    def _run(self) -> None:
        pace = Pace(_SHARE, self._stop)
        while not self._stop.is_set():
            try:
                alerts, current = self._queue.get(timeout=_LOOK_S)
            except Empty:
                continue
            if (candidate := self._candidate) is not None:
                pace.begin()
                with self._background("shadow"):
                    self._compare(_Paced(candidate, pace), alerts, current)

    def _compare(self, candidate: Classifier, alerts: AlertBatch, current: Classified) -> None:
        answers = answer(candidate, alerts)
        self._count(
            current, Classified(candidate.bundle, answers.classified, answers.probabilities)
        )

    def _count(self, current: Classified, candidate: Classified) -> None:
        followed = self._candidate
        # What is no longer followed has no metrics any more.
        if followed is not None and followed.bundle is candidate.bundle:
            found = compare(current, candidate)
            self._metrics.compared(
                candidate.bundle, found.n, found.agreements, found.shift, candidate.predicted
            )


class _Paced:
    """A classifier that rests after every few alerts."""

    def __init__(self, classifier: Classifier, pace: Pace) -> None:
        self._classifier = classifier
        self._pace = pace
        self.bundle = classifier.bundle

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        if rows is None:
            rows = np.arange(len(curves))
        pieces = []
        for start in range(0, len(rows) or 1, _PIECE):
            piece = rows[start : start + _PIECE]
            pieces.append(self._classifier.predict(curves, trigger_mjd, piece))
            self._pace.rest()
        return Predictions(
            np.concatenate([piece.probabilities for piece in pieces]),
            np.concatenate([piece.ood_score for piece in pieces]),
        )
