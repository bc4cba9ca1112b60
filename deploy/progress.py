"""How far a replay has come, as a bar over the bytes of the archive."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

__all__ = ["ByteProgress"]


class ByteProgress:
    """A bar on standard error while a ``with`` block lasts."""

    def __init__(self, doing: str) -> None:
        self._bars = Bars(
            TextColumn(doing),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bars.add_task("", total=None)
        self._parts: dict[int, int] = {}

    def begin(self, total_bytes: int) -> None:
        """Take note of the size of the archive."""
        self._bars.update(self._task, total=total_bytes)

    def reached(self, part: int, n_bytes: int) -> None:
        """Take note that so much of a part was read."""
        self._parts[part] = n_bytes
        self._bars.update(self._task, completed=sum(self._parts.values()))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
