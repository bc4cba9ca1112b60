"""A folder of model bundles, of which one is current: what a service follows.

::

    FOLDER/<sha256>/model.onnx, card.json   a bundle; never changed once it is there
    FOLDER/state.json                       which is current, was before, and is a candidate

A bundle gets in only if it is sound, and appears whole or not at all; so does every change of
the state. Several processes may read and write a store on one machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from models.bundle import CARD_NAME, DEPLOYED_MODEL, load_bundle
from models.errors import BundleError, BusyError, ConfigurationError
from models.runtime import OnnxClassifier, exercise, load_classifier

__all__ = ["ModelStore", "StoreState"]

_MODEL_NAME: Final = DEPLOYED_MODEL.name
_STATE_NAME: Final = "state.json"
_SHA256: Final = "^[0-9a-f]{64}$"

Sha256 = Annotated[str, Field(pattern=_SHA256)]


@dataclass(frozen=True, slots=True)
class StoreState:
    """Which models of a store have a part to play, by sha256."""

    current: Sha256 | None = None
    """The model that answers."""
    previous: Sha256 | None = None
    """The one that did before, for `ModelStore.rollback`."""
    candidate: Sha256 | None = None
    """The one that is tried beside the current one (shadow model)."""


_STATE: Final = TypeAdapter(StoreState)


class ModelStore:
    """A folder of bundles, of which one is current.

    Methods raise `ConfigurationError` for a folder that cannot be read or written and for a
    model that is not there, `BundleError` for one that is not sound; then nothing has changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, model: Path) -> str:
        """Copy a sound bundle into the store and return its sha256.

        Its golden outputs must hold, and it must run at all of its lengths. One that is there
        already stays as it is.
        """
        sha256 = _checked(load_classifier(model)).bundle.sha256
        target = self._folder / sha256
        with self._writing(), tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as new:
            if target.exists():
                self.load(sha256)
                return sha256
            copy = Path(new) / sha256
            copy.mkdir()
            shutil.copyfile(model, copy / _MODEL_NAME)
            shutil.copyfile(model.parent / CARD_NAME, copy / CARD_NAME)
            if load_bundle(copy / _MODEL_NAME).sha256 != sha256:
                raise BundleError(f"{model} changed while it was copied: try again", model)
            copy.rename(target)
        return sha256

    def state(self) -> StoreState:
        """Return which models play a part; none do in a store that is new."""
        path = self._folder / _STATE_NAME
        try:
            return _STATE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return StoreState()
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}", path) from error
        except ValidationError as error:
            raise ConfigurationError(
                f"{path} is not the state of a model store ({error.errors()[0]['msg']}): delete "
                "it and promote a model",
                path,
            ) from error

    def stamp(self) -> tuple[int, int] | None:
        """Return what is another after each change of the state, at the cost of one stat."""
        try:
            found = (self._folder / _STATE_NAME).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def models(self) -> list[str]:
        """Return the sha256 of each model, the oldest first."""
        try:
            found = [path for path in self._folder.iterdir() if re.match(_SHA256, path.name)]
            return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the model store {self._folder}: {error.strerror}", self._folder
            ) from error

    def path(self, sha256: str) -> Path:
        """Return the path of a model's ``model.onnx``."""
        if sha256 not in (known := self.models()):
            raise ConfigurationError(
                f"no model {sha256} in {self._folder}; it has "
                f"{', '.join(name[:12] for name in known) or 'none: push one'}",
                sha256,
            )
        return self._folder / sha256 / _MODEL_NAME

    def load(
        self, sha256: str, threads: int = 1, rest: Callable[[], None] = lambda: None
    ) -> OnnxClassifier:
        """Load a model and check all of it, also that it is the one that its folder names.

        It is warm then, at each of its lengths. ``rest`` is called between two pieces of work.
        """
        path = self.path(sha256)
        classifier = load_classifier(path, threads)
        if classifier.bundle.sha256 != sha256:
            raise BundleError(
                f"{path} is the model {classifier.bundle.sha256[:12]}, not the one that its folder "
                "names: delete the folder and push the model again",
                path,
            )
        rest()
        return _checked(classifier, rest)

    def promote(self, sha256: str, instead_of: str | None = None) -> bool:
        """Make a model the current one, if it is sound; tell whether it is.

        It is not when another than ``instead_of`` has become current meanwhile.
        """
        self.load(sha256)
        with self._writing():
            state = self.state()
            if instead_of is not None and state.current != instead_of:
                return False
            if sha256 != state.current:
                state = replace(state, current=sha256, previous=state.current)
            if sha256 == state.candidate:
                state = replace(state, candidate=None)
            self._write(state)
        return True

    def propose(self, sha256: str) -> None:
        """Make a model the candidate, if it is sound."""
        self.load(sha256)
        with self._writing():
            self._write(replace(self.state(), candidate=sha256))

    def withdraw(self) -> None:
        """Have no candidate."""
        with self._writing():
            self._write(replace(self.state(), candidate=None))

    def rollback(self) -> str:
        """Make the previous model the current one again, if it is sound; return its sha256."""
        with self._writing():
            state = self.state()
            if state.previous is None:
                raise ConfigurationError(
                    f"no model was current in {self._folder} before this one: promote another",
                    self._folder,
                )
            self.load(state.previous)
            self._write(replace(state, current=state.previous, previous=state.current))
            return state.previous

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep the store for one job that makes models: a second one is refused at once.

        Models can be pushed and promoted all the same.
        """
        with self._open(".lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"{self._folder} is in use by {file.read() or 'another process'}: wait for it "
                    "or stop it",
                    self._folder,
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} ({shlex.join(sys.argv)})")
            file.flush()
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let no other process change the store meanwhile."""
        with self._open(".writing") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            except OSError as error:
                raise self._not_writable(error) from error

    def _open(self, name: str) -> IO[str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / name).open("a+", encoding="utf-8")
        except OSError as error:
            raise self._not_writable(error) from error
        file.seek(0)
        return file

    def _write(self, state: StoreState) -> None:
        path = self._folder / _STATE_NAME
        new = path.with_name(f".{_STATE_NAME}.new")
        with new.open("w") as file:
            json.dump(asdict(state), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def _not_writable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"cannot write to the model store {self._folder}: {error.strerror}", self._folder
        )


def _checked(classifier: OnnxClassifier, rest: Callable[[], None] = lambda: None) -> OnnxClassifier:
    """Return a model that runs at all of its lengths."""
    for _ in exercise(classifier):
        rest()
    return classifier
