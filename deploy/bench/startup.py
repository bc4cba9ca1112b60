"""How long ``tinyt2 serve`` takes from the start of the process until it is ready.

``startup_s`` ends with the log line ``started``: everything is imported, loaded,
checked and warmed up, and the group is about to be joined. How long the group
then takes to hand out partitions is the cluster's affair (`startup_ready_s`; the
embedded broker waits 3 s for further members). The peer is an interpreter that
imports the libraries and does nothing else. All are times on the wall.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from rich.progress import Progress

from deploy.bench.cluster import cluster, fresh, fresh_topics
from deploy.bench.measure import Result, time_per_alert
from deploy.serving import Serve, ServeTopics, children_end_with_us
from models.errors import TinyT2Error

__all__ = ["measure"]

_IMPORTS: Final = "import numpy, onnxruntime, numba, pyarrow, confluent_kafka"
# -P: a module in the working directory must not take the place of ours.
_PYTHON: Final = (sys.executable, "-P")


def measure(progress: Progress, rounds: int, cold_rounds: int) -> list[Result]:
    """Start everything by turns; so many times also with no machine code cached."""
    with (
        children_end_with_us(),
        tempfile.TemporaryDirectory(prefix="tinyt2-bench-") as name,
        cluster(None) as servers,
    ):
        folder, topics = Path(name), fresh_topics(servers)
        task = progress.add_task("startup_s", total=1 + rounds + cold_rounds)
        # Fills the caches, of machine code and of files.
        _serve(servers, topics, folder)
        progress.advance(task)
        taken: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            taken["imports"].append(_run("-c", _IMPORTS))
            taken["help"].append(_run("-m", "deploy.cli", "--help"))
            started, ready = _serve(servers, topics, folder, until_ready=True)
            taken["started"].append(started)
            taken["ready"].append(ready)
            progress.advance(task)
        for _ in range(cold_rounds):
            cache = {"NUMBA_CACHE_DIR": tempfile.mkdtemp(dir=folder)}
            taken["cold"].append(_serve(servers, topics, folder, cache)[0])
            progress.advance(task)
    return _results({name: np.array(seconds) for name, seconds in taken.items()})


def _results(taken: Mapping[str, np.ndarray]) -> list[Result]:
    results = [time_per_alert("startup_s", taken["started"], _IMPORTS, taken["imports"], "s")]
    rows = {"startup_ready_s": "ready", "startup_help_s": "help", "startup_cold_s": "cold"}
    return results + [
        time_per_alert(name, taken[key], unit="s") for name, key in rows.items() if key in taken
    ]


def _run(*arguments: str) -> float:
    """Return the seconds that an interpreter takes."""
    start = time.perf_counter()
    done = subprocess.run([*_PYTHON, *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise TinyT2Error(f"{' '.join(arguments)} failed:\n{done.stderr}", done.returncode)
    return seconds


def _serve(
    servers: str,
    topics: ServeTopics,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    until_ready: bool = False,
) -> tuple[float, float]:
    """Return the seconds until the service has started and, if asked for, until it is ready."""
    start = time.perf_counter()
    log = folder / f"{fresh('serve')}.log"
    with Serve(servers, fresh("group"), topics, log, settings) as service:
        service.wait_for_event("started")
        started = time.perf_counter() - start
        if until_ready:
            service.wait_until_ready()
        ready = time.perf_counter() - start
        service.stop()
    return started, ready
