"""Messages from an archive: alert files, tarballs, Parquet.

An alert file or member of a tarball is one message, and so is a row of Parquet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from models.errors import ConfigurationError
from stream.alerts import MessageBatch, RefusedReason
from stream.clock import Clock, system_clock
from stream.refusal import Refusal
from stream.sources.parquet import row_batches
from stream.sources.parts import MAX_PACKET_BYTES, Form, Part, alert_files, plan, shown_path
from stream.sources.tarball import Tarball

__all__ = ["ArchiveSource", "alert_files"]

_BATCH_BYTES: Final = 64 * 2**20
"""A batch ends early when its messages are larger than this together."""


@dataclass(slots=True)
class _Messages:
    """Messages of a part that come together."""

    first: int
    """Number of the first one in the part."""
    values: list[bytes] = field(default_factory=list)
    topic: list[str] = field(default_factory=list)
    refused: dict[int, Refusal] = field(default_factory=dict)
    rows: pa.RecordBatch | None = None
    n_bytes: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def add(self, topic: str, value: bytes, refusal: Refusal | None = None) -> None:
        if refusal is not None:
            self.refused[len(self)] = refusal
        self.values.append(value)
        self.topic.append(topic)
        self.n_bytes += len(value)


class _Reader(Protocol):
    """Reads one part. `read` is called with the same ``max_messages`` every time."""

    def read(self, max_messages: int) -> _Messages:
        """Return the next messages, none at the end."""
        ...

    @property
    def bytes_read(self) -> int: ...

    def close(self) -> None: ...


class ArchiveSource:
    """A source over an archive. A message's topic is its path, its offset the row of Parquet.

    Alerts of all surveys below ``paths``, from the first on; `over` takes parts of a plan.
    `ConfigurationError` for what cannot be opened.
    """

    def __init__(self, paths: Iterable[Path], clock: Clock = system_clock) -> None:
        self._begin(plan(paths), 0, clock)

    @classmethod
    def over(
        cls, parts: Sequence[Part], start: int = 0, clock: Clock = system_clock
    ) -> ArchiveSource:
        """Return a source over parts, from message number ``start`` of the first one on."""
        source = cls.__new__(cls)
        source._begin(list(parts), start, clock)
        return source

    def _begin(self, parts: list[Part], start: int, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._next_part = 0
        self._bytes_before = 0
        self._reader: _Reader | None = None
        self._handed_out: deque[int] = deque()
        self._position = start
        self.committed = start
        """Number of the first message that is not committed, in the last part begun."""

    @property
    def n_bytes(self) -> int:
        """Return the size on disk of what is read."""
        return sum(part.n_bytes for part in self._parts)

    @property
    def bytes_read(self) -> int:
        """Return how much of that was read."""
        return self._bytes_before + (self._reader.bytes_read if self._reader else 0)

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next messages of one part, None after the last part."""
        while self._reader or self._next_part < len(self._parts):
            if self._reader is None:
                part = self._parts[self._next_part]
                self._next_part += 1
                self._reader = _READERS[part.form](part, self._position)
            messages = self._reader.read(max_messages)
            if len(messages):
                self._position = messages.first + len(messages)
                self._handed_out.append(self._position)
                return self._batch(messages)
            self.close()
            self._bytes_before += self._parts[self._next_part - 1].n_bytes
            if self._next_part < len(self._parts):
                self._position = 0
        return None

    def keep_alive(self, settle: Callable[[], None]) -> None:
        """Do nothing: files do not expire."""

    def commit(self, messages: MessageBatch, wait_s: float) -> bool:
        """Move the committed position behind these messages: batches come back in order."""
        self.committed = self._handed_out.popleft()
        return True

    def close(self) -> None:
        """Close the file that is being read."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _batch(self, messages: _Messages) -> MessageBatch:
        part, n = self._parts[self._next_part - 1], len(messages)
        offset = np.zeros(n, np.int64)
        if part.form in (Form.PACKETS, Form.ROWS):
            offset = np.arange(n, dtype=np.int64) + (part.first_row + messages.first)
        return MessageBatch(
            values=messages.values,
            keys=[None] * n,
            topic=messages.topic,
            partition=np.zeros(n, np.int32),
            offset=offset,
            timestamp_ms=np.full(n, -1, np.int64),
            ingest_ms=self._clock(),
            refused=messages.refused,
            rows=messages.rows,
        )


class _FilesReader:
    """Reads alert files."""

    def __init__(self, part: Part, start: int) -> None:
        self._paths = part.paths
        self._next = start
        self.bytes_read = 0

    def read(self, max_messages: int) -> _Messages:
        messages = _Messages(self._next)
        while (
            len(messages) < max_messages
            and messages.n_bytes < _BATCH_BYTES
            and self._next < len(self._paths)
        ):
            path = self._paths[self._next]
            messages.add(shown_path(path), *_read(path))
            self._next += 1
        self.bytes_read += messages.n_bytes
        return messages

    def close(self) -> None:
        """Do nothing: no file stays open."""


class _TarballReader:
    """Reads the members of a tarball."""

    def __init__(self, part: Part, start: int) -> None:
        self._path = part.paths[0]
        self._next = start
        try:
            self._tarball = Tarball(self._path)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        self._members = self._tarball.members(start)

    @property
    def bytes_read(self) -> int:
        return self._tarball.bytes_read

    def read(self, max_messages: int) -> _Messages:
        messages = _Messages(self._next)
        topic = shown_path(self._path)
        while len(messages) < max_messages and messages.n_bytes < _BATCH_BYTES:
            member = next(self._members, None)
            if member is None:
                break
            name = f"{topic}/{shown_path(member.name)}" if member.name else topic
            messages.add(name, member.value, member.refusal)
        self._next += len(messages)
        return messages

    def close(self) -> None:
        self._tarball.close()


class _ParquetReader:
    """Reads rows, as packets or as decoded alerts."""

    def __init__(self, part: Part, start: int) -> None:
        self._part = part
        self._next = start
        self._batches: Iterator[tuple[int, pa.RecordBatch | Refusal]] | None = None

    @property
    def bytes_read(self) -> int:
        return self._part.n_bytes * self._next // max(self._part.n_rows, 1)

    def read(self, max_messages: int) -> _Messages:
        if self._batches is None:
            self._batches = row_batches(self._part, self._next, max_messages, _BATCH_BYTES)
        topic = shown_path(self._part.paths[0])
        first, batch = next(self._batches, (self._next, None))
        messages = _Messages(first)
        if isinstance(batch, Refusal):
            messages.add(topic, b"", batch)
        elif batch is not None and self._part.form is Form.ROWS:
            n = batch.num_rows
            messages = _Messages(first, [b""] * n, [topic] * n, rows=batch)
        elif batch is not None:
            for value in batch.column(0).to_pylist():
                messages.add(topic, value or b"")
        self._next = first + len(messages)
        return messages

    def close(self) -> None:
        """Stop reading."""
        self._batches = None


_READERS: Final[dict[Form, Callable[[Part, int], _Reader]]] = {
    Form.FILES: _FilesReader,
    Form.TARBALL: _TarballReader,
    Form.PACKETS: _ParquetReader,
    Form.ROWS: _ParquetReader,
}


def _read(path: Path) -> tuple[bytes, Refusal | None]:
    try:
        with path.open("rb") as file:
            value = file.read(MAX_PACKET_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(value) > MAX_PACKET_BYTES:
        return b"", Refusal(
            RefusedReason.TOO_LARGE, f"the file has more than the {MAX_PACKET_BYTES} bytes read"
        )
    return value, None


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot read {path}: {error.strerror}", path)
