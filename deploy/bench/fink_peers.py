"""Light-curve modules of fink-science, run by an interpreter that has them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from deploy.bench import fink_worker
from models.errors import ConfigurationError
from models.timing import Task

__all__ = ["Peers", "fink_peers"]

_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


class Peers(NamedTuple):
    """What can be measured, and what not."""

    tasks: dict[str, Task]
    """A module of fink-science -> one run of it in the other process."""
    absent: dict[str, str]
    """A module that does not run there -> why."""


@contextmanager
def fink_peers(python: Path, frame: pd.DataFrame) -> Iterator[Peers]:
    """Run the worker on alerts as long as the context lasts.

    Raises `ConfigurationError` when the interpreter does not run it, or has none of the modules.
    """
    with tempfile.TemporaryDirectory(prefix="tinyt2-bench-") as name:
        alerts = Path(name) / "alerts.json"
        frame.to_json(alerts, orient="records", double_precision=15)
        with _worker(python, alerts) as worker:
            ready = json.loads(_answer(worker, python))
            if not ready["modules"]:
                reasons = "; ".join(f"{k}: {why}" for k, why in ready["absent"].items())
                raise ConfigurationError(f"{python} has no module to measure: {reasons}", python)
            tasks = {
                module: Task(partial(_run, worker, python, module), n)
                for module, n in ready["modules"].items()
            }
            yield Peers(tasks, ready["absent"])


@contextmanager
def _worker(python: Path, alerts: Path) -> Iterator[subprocess.Popen[str]]:
    # -I: this folder's modules would be taken for others of the same name.
    command = [str(python), "-I", fink_worker.__file__, str(alerts)]
    try:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | _ONE_THREAD,
        )
    except OSError as error:
        raise ConfigurationError(f"cannot run {python}: {error.strerror}", python) from error
    # Leaving it closes its standard input, which ends it.
    with worker:
        yield worker


def _run(worker: subprocess.Popen[str], python: Path, module: str) -> None:
    assert worker.stdin is not None
    print(module, file=worker.stdin, flush=True)
    _answer(worker, python)


def _answer(worker: subprocess.Popen[str], python: Path) -> str:
    assert worker.stdout is not None
    answer = worker.stdout.readline()
    if not answer:
        raise ConfigurationError(
            f"{python} gave up: run '{python} {fink_worker.__file__} ALERTS.json' to see why",
            python,
        )
    return answer
