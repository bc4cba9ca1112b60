"""How many partitions, replicas and cores a stream needs, from the measured cost of an alert.

With N alerts that come together, T seconds in which they are to be answered, c seconds of
processor time per alert and a share u of each core that may be busy:

    rate = N / T,  cores = rate * c / u,  replicas = ceil(cores),  partitions = 2 * replicas

One process uses about one core. Twice as many partitions as replicas let their number double
without a change of the topic. It is linear in the rate: brokers and network are not in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from rich.table import Table

from models.errors import ConfigurationError

__all__ = ["BUSY", "STREAMS", "Sizing", "Stream", "serve_cost_us", "size", "sizing_table"]

BUSY: Final = 0.5
"""Share of a core that is planned for: the other half is headroom."""
_PARTITIONS_PER_REPLICA: Final = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """Alerts that come together and when they are to be answered."""

    name: str
    alerts: int
    seconds: float


STREAMS: Final = (
    Stream("ZTF, 300 alerts/s at its peak", 300, 1.0),
    Stream("LSST, 10,000 per visit, evenly over its 39 s", 10_000, 39.0),
    Stream("LSST, 10,000 per visit, within 10 s", 10_000, 10.0),
    Stream("10x LSST, within 10 s", 100_000, 10.0),
    Stream("100x LSST, within 10 s", 1_000_000, 10.0),
)


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a stream needs."""

    rate: float
    """Alerts per second."""
    cores: float
    replicas: int
    partitions: int


def size(stream: Stream, cost_s: float) -> Sizing:
    """Return what a stream needs at so many seconds of processor time per alert."""
    rate = stream.alerts / stream.seconds
    cores = rate * cost_s / BUSY
    replicas = ceil(cores)
    return Sizing(rate, cores, replicas, _PARTITIONS_PER_REPLICA * replicas)


def serve_cost_us(path: Path) -> float:
    """Return the cost that ``tinyt2 bench kafka --json`` measured, microseconds per alert.

    Raises `ConfigurationError` for any other file.
    """
    try:
        rows = json.loads(path.read_text())["benchmarks"]
        (cost,) = [row["value"] for row in rows if row["name"] == "serve_cpu_vs_consume"]
        return float(cost)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not what 'tinyt2 bench kafka --json' writes: {error}", path
        ) from error


def sizing_table(cost_us: float) -> Table:
    """Return the table of all streams at so many microseconds per alert."""
    table = Table(
        title=f"{cost_us:g} us of processor time per alert, cores half busy", title_justify="left"
    )
    table.add_column("stream")
    for name in ("alerts/s", "cores", "replicas", "partitions"):
        table.add_column(name, justify="right")
    for stream in STREAMS:
        need = size(stream, cost_us / 1e6)
        table.add_row(
            stream.name,
            f"{need.rate:,.0f}",
            f"{need.cores:,.2f}",
            f"{need.replicas:,}",
            f"{need.partitions:,}",
        )
    return table
