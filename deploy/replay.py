"""Replay an archive into a folder: part by part, resumable, on one process or several.

Every process has a model session of its own and writes output of its own; what they have
in common is the folder's `Checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

from deploy import wiring
from deploy.settings import Settings
from models.bundle import Bundle
from models.errors import ConfigurationError
from stream.accounting import Accounting
from stream.alerts import MessageBatch
from stream.checkpoint import Checkpoint, Segment
from stream.metrics import Metrics
from stream.service import Service
from stream.sinks.partitions import PartitionedSink
from stream.sources import Source
from stream.sources.archive import ArchiveSource
from stream.sources.parts import Part, plan, shown_path

__all__ = ["CHECKPOINT_EVERY", "Job", "Progress", "Replayed", "Runner", "replay_folder"]

CHECKPOINT_EVERY: Final = 32_768
"""Messages: some seconds of work, and output files of some megabytes."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is left to do of a part."""

    number: int
    part: Part
    start: int
    """Number of its first message that is not done."""


class Progress(Protocol):
    """Is told how far a replay has come."""

    def begin(self, total_bytes: int) -> None:
        """Take note of the size of the archive."""

    def reached(self, part: int, n_bytes: int) -> None:
        """Take note that so much of a part was read."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an archive."""

    accounting: Accounting
    """All messages, those of earlier runs included."""
    before: Accounting
    """Those of earlier runs, which were skipped."""
    bundle: Bundle


class Workers(Protocol):
    """Does jobs, and hands over every segment that is done."""

    def __call__(
        self, jobs: Sequence[Job], progress: Progress, done: Callable[[Segment], None]
    ) -> None: ...


class Runner:
    """Classifies parts of an archive into the folder of a checkpoint, segment by segment."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, every: int) -> None:
        self._metrics = Metrics(topic="archive")
        self._pipeline = wiring.open_pipeline(settings, self._metrics)
        self._limits = wiring.batch_limits(settings)
        self._checkpoint = checkpoint
        self._every = every

    @property
    def bundle(self) -> Bundle:
        """Return the model that answers."""
        return self._pipeline.classifier.bundle

    def __call__(
        self, jobs: Sequence[Job], progress: Progress, done: Callable[[Segment], None]
    ) -> None:
        """Do jobs, one after another."""
        for job in jobs:
            self.run(job, lambda n_bytes, job=job: progress.reached(job.number, n_bytes), done)  # type: ignore[misc]

    def run(
        self, job: Job, reached: Callable[[int], None], done: Callable[[Segment], None]
    ) -> None:
        """Do one job; ``reached`` is given the bytes read so far."""
        source = ArchiveSource.over([job.part], job.start)
        try:
            start, last = job.start, False
            while not last:
                segment = self._segment(job, start, source, reached)
                done(segment)
                start, last = segment.end, segment.last
        finally:
            source.close()
        reached(job.part.n_bytes)

    def _segment(
        self, job: Job, start: int, source: ArchiveSource, reached: Callable[[int], None]
    ) -> Segment:
        """Classify messages up to the next checkpoint, and make them done."""
        sink = PartitionedSink(
            self._checkpoint.aside(job.number, start), self._checkpoint.file_name(job.number, start)
        )
        segment_source = _SegmentSource(source, self._every)
        accounting = Service(
            segment_source,
            self._pipeline,
            sink,
            self._metrics,
            self._limits,
            on_batch=lambda outcomes: reached(source.bytes_read),
        ).run()
        end = source.committed
        segment = Segment(
            job.number,
            start,
            end,
            last=segment_source.exhausted or end == job.part.n_messages,
            files=sink.files,
            accounts=accounting.as_log(),
        )
        self._checkpoint.commit(segment)
        return segment


class _SegmentSource:
    """The next messages of a source, until there are enough: then it ends, the source does not."""

    def __init__(self, source: Source, enough: int) -> None:
        self._source = source
        self._left = enough
        self.exhausted = False
        """The source itself has ended."""

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next messages, None when there were enough."""
        # Batches are not cut to size: they must not depend on where a run was interrupted.
        if self._left <= 0:
            return None
        messages = self._source.poll(max_messages, wait_s)
        self.exhausted = messages is None
        self._left -= 0 if messages is None else len(messages)
        return messages

    def keep_alive(self, settle: Callable[[], None]) -> None:
        """Pass it on."""
        self._source.keep_alive(settle)

    def commit(self, messages: MessageBatch, wait_s: float) -> bool:
        """Pass it on."""
        return self._source.commit(messages, wait_s)

    def close(self) -> None:
        """Leave the source open, for the next segment."""


def replay_folder(
    settings: Settings,
    paths: Sequence[Path],
    out: Path,
    progress: Progress,
    *,
    workers: int = 1,
    every: int = CHECKPOINT_EVERY,
    restart: bool = False,
) -> Replayed:
    """Classify an archive into partitioned Parquet, going on where an earlier run ended.

    ``workers`` processes at a time, a checkpoint at least ``every`` so many messages;
    ``restart`` deletes what earlier runs wrote. Raises `ConfigurationError` when the folder
    cannot be used for this archive and model, `DeliveryError` when a worker ends too early.
    """
    from deploy.workers import WorkerProcesses

    surveys = tuple(settings.input.surveys)
    parts = plan(paths, surveys, every, out)
    _check_apart(paths, out)
    bundle = wiring.open_classifier(settings).bundle
    checkpoint = Checkpoint.begin(out, _identity(settings, bundle, parts, every), restart)
    try:
        jobs, before, finished = _left(parts, checkpoint)
        progress.begin(sum(part.n_bytes for part in parts))
        for number in finished:
            progress.reached(number, parts[number].n_bytes)
        total = before.copy()
        # Also if another model is promoted meanwhile.
        settings = wiring.with_model(settings, bundle.path)
        work: Workers
        if workers == 1:
            work = Runner(settings, checkpoint, every)
        else:
            work = WorkerProcesses(settings, out, every, workers)
        work(jobs, progress, lambda segment: total.add(segment.accounting))
    finally:
        checkpoint.close()
    total.check()
    return Replayed(total, before, bundle)


def _left(parts: Sequence[Part], checkpoint: Checkpoint) -> tuple[list[Job], Accounting, list[int]]:
    """Return what is left to do, the accounts of what is done, and the parts that are finished."""
    done = checkpoint.done()
    jobs: list[Job] = []
    finished: list[int] = []
    before = Accounting()
    for number, part in enumerate(parts):
        segments = done.get(number, [])
        for segment in segments:
            before.add(segment.accounting)
        if segments and segments[-1].last:
            finished.append(number)
        else:
            jobs.append(Job(number, part, segments[-1].end if segments else 0))
    return jobs, before, finished


def _check_apart(paths: Sequence[Path], out: Path) -> None:
    """Refuse to replay what a replay wrote into the same folder."""
    for path in paths:
        if path.exists() and path.resolve().is_relative_to(out.resolve()):
            raise ConfigurationError(
                f"{path} lies in the output folder {out}: name another folder", path
            )


def _identity(
    settings: Settings, bundle: Bundle, parts: Sequence[Part], every: int
) -> dict[str, Any]:
    """Return all that the output depends on, as it is kept with it."""
    sources = f"{settings.schemas.registry_url} {settings.schemas.folder}"
    return {
        "model": bundle.sha256,
        "settings": {
            "surveys": settings.input.surveys,
            "max_messages": settings.batch.max_messages,
            # A registry's address may hold a password.
            "schemas": sha256(sources.encode()).hexdigest()[:16],
            "checkpoint_every": every,
        },
        "input": [_described(part) for part in parts],
    }


def _described(part: Part) -> str:
    more = f" and {len(part.paths) - 1:,} more" if len(part.paths) > 1 else ""
    rows = f" from row {part.first_row:,}" if part.first_row else ""
    name = shown_path(part.paths[0])
    return f"{name}{more}{rows} ({part.n_bytes:,} bytes, {part.identity[:12]})"
