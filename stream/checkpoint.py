"""How far the replay of an archive into a folder has come, and what of its output counts.

An archive is cut into parts, a part into segments: messages ``start`` to ``end``, with their
output files. A segment's files are written aside. It is done the moment when its record is
renamed to its name; only then do the files move to their places, and if that is interrupted,
whoever opens the folder next ends it. Whatever is aside without a record never was::

    FOLDER/survey=ztf/night=20201231/00003-000032768.parquet
    FOLDER/_checkpoint/run.json            what is replayed, with what
    FOLDER/_checkpoint/done/00003-000032768.json
    FOLDER/_checkpoint/aside/00003-000032768/survey=ztf/...
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from models.errors import ConfigurationError, DeliveryError
from stream.accounting import Accounting

__all__ = ["Checkpoint", "Segment"]

_OWN: Final = "_checkpoint"
_OTHERS_END_S: Final = 20.0
_AGAIN: Final = "or begin anew with --restart, which deletes what this folder has so far"


@dataclass(frozen=True, slots=True)
class Segment:
    """Messages of a part that are done."""

    part: int
    start: int
    """Number of its first message in the part."""
    end: int
    last: bool
    """The part has no messages after these."""
    files: list[str]
    """Output, below the folder."""
    accounts: dict[str, Any]
    """As `Accounting.as_log` returns them."""

    @property
    def accounting(self) -> Accounting:
        """Return the accounts of these messages."""
        return Accounting.from_log(self.accounts)


class Checkpoint:
    """The done segments of one output folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / _OWN
        self._aside = self._own / "aside"
        self._done = self._own / "done"
        self._locks: list[IO[bytes]] = []

    @classmethod
    def begin(cls, folder: Path, run: Mapping[str, Any], restart: bool = False) -> Self:
        """Take a folder for a run, new or to be gone on with, and end what was interrupted.

        ``run`` says what is replayed and with what; it must be what the folder was begun with.
        ``restart`` deletes what an earlier run wrote. `ConfigurationError` for a folder that
        holds other things, that another process writes to, or that another run began.
        """
        checkpoint = cls(folder)
        checkpoint._check_folder()
        try:
            for path in (checkpoint._aside, checkpoint._done):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {folder}: {error.strerror}", folder
            ) from error
        try:
            checkpoint._take()
            if restart:
                checkpoint._delete()
            checkpoint._compare(run)
            checkpoint._recover()
        except BaseException:
            checkpoint.close()
            raise
        return checkpoint

    @classmethod
    def join(cls, folder: Path) -> Self:
        """Work for the process that began: nobody else begins while this one lives."""
        checkpoint = cls(folder)
        checkpoint._lock("workers", fcntl.LOCK_SH)
        return checkpoint

    def close(self) -> None:
        """Let others have the folder."""
        for lock in self._locks:
            lock.close()
        self._locks = []

    def done(self) -> dict[int, list[Segment]]:
        """Return the segments that are done, in order, by number of their part."""
        segments: dict[int, list[Segment]] = {}
        for path in sorted(self._done.glob("*.json")):
            segment = Segment(**json.loads(path.read_text()))
            segments.setdefault(segment.part, []).append(segment)
        return segments

    def aside(self, part: int, start: int) -> Path:
        """Return an empty folder for the output of a segment."""
        path = self._aside / _name(part, start)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def file_name(self, part: int, start: int) -> str:
        """Return what the output files of a segment are called."""
        return f"{_name(part, start)}.parquet"

    def commit(self, segment: Segment) -> None:
        """Make a segment done, whose files are aside and on the disk; `DeliveryError` if not."""
        name = _name(segment.part, segment.start)
        try:
            _write(self._done / f"{name}.json", asdict(segment))
            self._settle(segment)
        except OSError as error:
            raise DeliveryError(f"cannot write below {self._folder}: {error}", error) from error

    def _settle(self, segment: Segment) -> None:
        """Move the files that are still aside to their places."""
        aside = self._aside / _name(segment.part, segment.start)
        for file in segment.files:
            target = self._folder / file
            if (aside / file).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (aside / file).replace(target)
            elif not target.exists():
                raise ConfigurationError(
                    f"{target} is gone: bring it back, {_AGAIN}",
                    target,
                )
        shutil.rmtree(aside, ignore_errors=True)

    def _check_folder(self) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigurationError(f"{self._folder} is a file: name a folder", self._folder)
        if self._folder.is_dir() and not self._own.is_dir() and any(self._folder.iterdir()):
            raise ConfigurationError(
                f"{self._folder} holds other things than a replay: name a new folder", self._folder
            )

    def _take(self) -> None:
        try:
            self._lock("lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another process writes to {self._folder}: wait for it or stop it", self._folder
            ) from None
        # Workers of a run that was killed end by themselves, but not in the same moment.
        deadline = time.monotonic() + _OTHERS_END_S
        while True:
            try:
                self._lock("workers", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"a worker of an earlier run still writes to {self._folder}: stop it",
                        self._folder,
                    ) from None
                time.sleep(0.1)
            else:
                self._locks.pop().close()
                return

    def _lock(self, name: str, how: int) -> None:
        file = (self._own / name).open("ab")
        try:
            fcntl.flock(file, how)
        except OSError:
            file.close()
            raise
        self._locks.append(file)

    def _compare(self, run: Mapping[str, Any]) -> None:
        path = self._own / "run.json"
        if not path.exists():
            _write(path, run)
            return
        begun: dict[str, Any] = json.loads(path.read_text())
        for key, value in json.loads(json.dumps(run)).items():
            was = begun.get(key)
            if was != value:
                raise ConfigurationError(
                    f"{self._folder} was begun with another {key}: {_difference(was, value)}. Go "
                    f"on with what it was begun with, {_AGAIN}",
                    value,
                )

    def _recover(self) -> None:
        for segments in self.done().values():
            for segment in segments:
                self._settle(segment)
        shutil.rmtree(self._aside)
        self._aside.mkdir()

    def _delete(self) -> None:
        """Delete the output of the done segments, and the record of the run."""
        for segments in self.done().values():
            for segment in segments:
                for file in segment.files:
                    (self._folder / file).unlink(missing_ok=True)
                    with suppress(OSError):
                        (self._folder / file).parent.rmdir()
                        (self._folder / file).parent.parent.rmdir()
                (self._done / f"{_name(segment.part, segment.start)}.json").unlink()
        (self._own / "run.json").unlink(missing_ok=True)


def _name(part: int, start: int) -> str:
    return f"{part:05}-{start:09}"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is there as a whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _difference(was: object, now: object) -> str:
    """Say how two values differ, by the first items that do."""
    if isinstance(was, list) and isinstance(now, list):
        for i, (a, b) in enumerate(zip(was, now, strict=False)):
            if a != b:
                return f"number {i} was {a}, is {b}"
        return f"there were {len(was)}, there are {len(now)}"
    return f"it was {was}, is {now}"
