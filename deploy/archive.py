"""``tinyt2 replay`` as people see it: a bar while it works, then what became of the archive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from deploy import display, wiring
from deploy.paced import send_archive
from deploy.progress import ByteProgress
from deploy.replay import replay_folder
from deploy.settings import Settings

__all__ = ["classify_into_file", "classify_into_folder", "is_folder", "send"]


def is_folder(out: str) -> bool:
    """Tell whether an output that was named is a folder: it is one already, or has no ending."""
    return out.endswith("/") or Path(out).is_dir() or not Path(out).suffix


def classify_into_file(settings: Settings, paths: Sequence[Path], out: Path) -> None:
    """Classify an archive into one file; see `deploy.wiring.replay`."""
    started = 0.0
    with ByteProgress("classifying") as progress:

        def start(n_bytes: int) -> None:
            nonlocal started
            started = time.perf_counter()
            progress.begin(n_bytes)

        accounting, bundle = wiring.replay(
            settings, paths, out, start, lambda n_bytes: progress.reached(0, n_bytes)
        )
    console = Console()
    display.show_replay(console, accounting, bundle, time.perf_counter() - started)
    console.print(f"written to {escape(str(out))}")


def classify_into_folder(
    settings: Settings,
    paths: Sequence[Path],
    out: Path,
    *,
    workers: int,
    every: int,
    restart: bool,
) -> None:
    """Classify an archive into a folder; see `deploy.replay.replay_folder`."""
    started = time.perf_counter()
    with ByteProgress("classifying") as progress:
        done = replay_folder(
            settings, paths, out, progress, workers=workers, every=every, restart=restart
        )
    console = Console()
    seconds = time.perf_counter() - started
    display.show_replay(console, done.accounting, done.bundle, seconds, done.before)
    console.print(f"written to {escape(str(out))}/survey=.../night=.../")


def send(
    settings: Settings, paths: Sequence[Path], topic: str, per_visit: int, *, forever: bool = False
) -> None:
    """Send an archive to a topic; see `deploy.paced.send_archive`."""
    started = time.perf_counter()
    with ByteProgress("sending") as progress:
        sent = send_archive(
            settings,
            paths,
            topic,
            per_visit,
            progress.begin,
            lambda n_bytes: progress.reached(0, n_bytes),
            forever=forever,
        )
    console = Console()
    seconds = time.perf_counter() - started
    console.print(
        f"{sent.acknowledged:,} messages acknowledged on topic {escape(topic)} in {seconds:.1f} s"
    )
    if sent.unreadable:
        console.print(f"{sent.unreadable:,} could not be read from the archive and were not sent")
