"""Follow a model store: what is promoted or proposed there takes part without a restart."""

from __future__ import annotations

from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

import structlog

from models.errors import TinyT2Error
from models.runtime import OnnxClassifier
from models.store import ModelStore
from stream.metrics import Metrics
from stream.pace import Pace
from stream.pipeline import Pipeline
from stream.shadow import Shadow

__all__ = ["ModelFollower"]

log = structlog.get_logger()

_INTERVAL_S: Final = 1.0
_SHARE: Final = 0.2
"""Of one core, while a model is loaded."""


class ModelFollower:
    """Looks at a store once a second, and loads, checks and warms models on a thread of its own.

    The pipeline takes a new current model between two batches, ``shadow`` a new candidate. What
    is not sound is refused, logged and counted, and all goes on as before.
    """

    def __init__(
        self,
        store: ModelStore,
        pipeline: Pipeline,
        shadow: Shadow,
        metrics: Metrics,
        threads: int = 1,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._shadow = shadow
        self._metrics = metrics.models
        self._background = metrics.background
        self._threads = threads
        self._seen: tuple[int, int] | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="models", daemon=True)

    def __enter__(self) -> Self:
        self._shadow.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._shadow.stop()

    def look(self) -> None:
        """Do what the store asks for, if its state has changed since the last look."""
        # Before the state is read: a change in between is then seen by the next look.
        if (stamp := self._store.stamp()) == self._seen:
            return
        self._seen = stamp
        try:
            state = self._store.state()
        except TinyT2Error as error:
            self._refuse("state", None, error)
            return
        self._follow_current(state.current)
        self._follow_candidate(state.candidate)

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._background("models"):
                self.look()
            self._stop.wait(_INTERVAL_S)

    def _follow_current(self, sha256: str | None) -> None:
        before = self._pipeline.classifier.bundle.sha256
        wanted = sha256 is not None and sha256 != before
        self._metrics.pending.set(wanted)
        if sha256 is None or not wanted:
            return
        if (classifier := self._load("current", sha256, self._threads)) is None:
            return
        self._pipeline.classifier = classifier
        self._metrics.swaps.inc()
        self._metrics.pending.set(False)
        manifest = classifier.bundle.manifest
        log.info(
            "model changed",
            model=f"{manifest.name} {manifest.version}",
            model_sha256=sha256,
            model_notice=manifest.notice,
            before=before,
        )

    def _follow_candidate(self, sha256: str | None) -> None:
        followed = self._shadow.candidate
        if sha256 == (None if followed is None else followed.bundle.sha256):
            return
        classifier = None if sha256 is None else self._load("candidate", sha256, threads=1)
        self._shadow.follow(classifier)
        if classifier is not None:
            log.info("candidate is tried", model_sha256=sha256)

    def _load(self, role: str, sha256: str, threads: int) -> OnnxClassifier | None:
        try:
            return self._store.load(sha256, threads, Pace(_SHARE, self._stop).rest)
        except TinyT2Error as error:
            self._refuse(role, sha256, error)
            return None

    def _refuse(self, role: str, sha256: str | None, error: TinyT2Error) -> None:
        self._metrics.refusals.labels(role).inc()
        log.error(
            "model refused",
            role=role,
            model_sha256=sha256,
            error=str(error),
            goes_on_with=self._pipeline.classifier.bundle.sha256,
        )
