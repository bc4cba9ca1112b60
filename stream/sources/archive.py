"""Messages from files: every ``*.avro`` file is one message."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from models.errors import ConfigurationError
from stream.alerts import MessageBatch
from stream.clock import Clock, system_clock

__all__ = ["ArchiveSource", "alert_files"]

_BATCH_BYTES: Final = 64 * 2**20
"""A batch ends early when its files are larger than this together."""


def alert_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named and, sorted, the ``*.avro`` files below folders."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = list(_files_below(path))
            if not found:
                raise ConfigurationError(f"no *.avro files below {path}", path)
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise ConfigurationError(f"no such file or folder: {path}", path)
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the alert files below a folder, in order of their names folder by folder."""
    # An archive has a million files: pathlib's own search and order take longer than to read them.
    for name, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.endswith(".avro") and os.path.isfile(full := f"{name}/{file}"):  # noqa: PTH113
                yield Path(full)


class ArchiveSource:
    """A source over alert files. A message's topic is its path."""

    def __init__(self, paths: Iterable[Path], clock: Clock = system_clock) -> None:
        self._files = alert_files(paths)
        self._next = 0
        self._clock = clock

    def __len__(self) -> int:
        return len(self._files)

    def poll(self, max_messages: int, wait_s: float) -> MessageBatch | None:
        """Return the next files, None after the last; raise `ConfigurationError` on I/O errors."""
        if self._next >= len(self._files):
            return None
        values: list[bytes] = []
        total = 0
        while len(values) < max_messages and total < _BATCH_BYTES and self._next < len(self._files):
            values.append(_read(self._files[self._next]))
            total += len(values[-1])
            self._next += 1
        n = len(values)
        return MessageBatch(
            values=values,
            keys=[None] * n,
            topic=[_name(path) for path in self._files[self._next - n : self._next]],
            partition=np.zeros(n, np.int32),
            offset=np.zeros(n, np.int64),
            timestamp_ms=np.full(n, -1, np.int64),
            ingest_ms=self._clock(),
        )

    def keep_alive(self) -> None:
        """Do nothing: files do not expire."""

    def commit(self, messages: MessageBatch) -> None:
        """Do nothing: a replay starts from the beginning."""

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _name(path: Path) -> str:
    """Return a path as text that every output format can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", path) from error
