"""From files to Parquet: ``tinyt2 replay`` against a loop that only decodes.

Rates are per second of processor time, all threads together. Ours counts from
the moment when model and decoder are open, and the whole way to a complete
Parquet file; the peer reads each file and decodes it with fastavro and cached
schemas, no more.
"""

from __future__ import annotations

import os
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from rich.progress import Progress

from deploy.bench.alerts import ZTF, messages
from deploy.bench.fastavro_peer import FastavroReader
from deploy.bench.measure import Result, rate
from deploy.settings import Settings
from deploy.wiring import replay
from models.errors import TinyT2Error
from models.timing import Seconds

__all__ = ["measure"]

_PEER_FILES = 1000
"""The peer takes so long that this many are enough."""


def measure(progress: Progress, rounds: int, alerts: int) -> list[Result]:
    """Replay so many full ZTF packets with cutouts, one file each, every so often."""
    ours, theirs = np.empty(rounds), np.empty(rounds)
    with tempfile.TemporaryDirectory(prefix="tinyt2-bench-") as name:
        folder = Path(name)
        files = _files(folder, alerts)
        # What is compiled or imported at first use does not count.
        _replay(files[:_PEER_FILES], folder)
        for i in progress.track(range(rounds), description="replay_per_cpu_s"):
            if i % 2:
                theirs[i] = _decode(files[:_PEER_FILES])
            ours[i] = _replay(files, folder)
            if not i % 2:
                theirs[i] = _decode(files[:_PEER_FILES])
    return _results(ours, theirs)


def _results(ours: Seconds, theirs: Seconds) -> list[Result]:
    peer = "read and fastavro, cached schema"
    return [rate("replay_per_cpu_s", ours, peer, theirs, "alerts/CPU-s")]


def _files(folder: Path, n: int) -> list[Path]:
    """Write the bundled ZTF packets and return n files that are links to them."""
    originals = []
    for i, value in enumerate(messages(ZTF)):
        originals.append(folder / f"original-{i}")
        originals[-1].write_bytes(value)
    files = [folder / f"{i:07}.avro" for i in range(n)]
    for path, original in zip(files, islice(cycle(originals), n), strict=False):
        os.link(original, path)
    return files


def _replay(files: list[Path], folder: Path) -> float:
    """Return the processor time per alert, seconds."""
    start = 0.0

    def opened(n: int) -> None:
        nonlocal start
        start = time.process_time()

    out = folder / "out.parquet"
    accounts, _ = replay(Settings(), files, out, opened, lambda outcomes: None)
    seconds = time.process_time() - start
    if accounts.alerts_decoded != len(files):
        raise TinyT2Error(
            f"{accounts.alerts_decoded} alerts came out of {len(files)} files", accounts
        )
    return seconds / accounts.alerts_decoded


def _decode(files: list[Path]) -> float:
    """Return the processor time per alert of reading and decoding, seconds."""
    reader = FastavroReader()
    start = time.process_time()
    alerts = sum(len(reader.read(path.read_bytes())) for path in files)
    return (time.process_time() - start) / alerts
