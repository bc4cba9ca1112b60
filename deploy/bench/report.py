"""Show results, and write them as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from deploy.bench.goals import GOALS
from deploy.bench.measure import Result
from models.errors import ConfigurationError
from models.machine import machine

__all__ = ["check_writable", "progress_bar", "show", "write_json"]


def progress_bar() -> Progress:
    """Return a bar on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def show(console: Console, title: str, results: Sequence[Result]) -> None:
    """Print a table of results and the machine's line."""
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("name and peer", overflow="fold")
    for column in ("value", "peer's", "ratio", "goal", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            f"[bold]{result.name}[/]" + (f"\n{escape(result.peer)}" if result.peer else ""),
            f"{_number(result.value)} {result.unit}",
            _number(result.peer_value),
            "" if result.ratio is None else f"{_number(result.ratio)}x",
            _goal(result),
            f"{result.n:,}",
        )
    console.print(table)
    console.print(machine(), highlight=False)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _goal(result: Result) -> str:
    goal = GOALS.get(result.name)
    if goal is None:
        return ""
    mark = "[green]ok[/]" if goal.met(result) else "[bold red]NO[/]"
    return f"{goal} {mark}"


def check_writable(path: Path) -> None:
    """Raise `ConfigurationError` now rather than after the work when a file cannot be written."""
    try:
        path.open("a").close()
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", path) from error


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Write ``{"benchmarks": [{name, value, unit, peer, peer_value, ratio, n}, ...]}``."""
    content = {"benchmarks": [asdict(result) for result in results]}
    path.write_text(json.dumps(content, indent=2) + "\n")
