"""The service on Kafka: cost, burst, replicas and latency."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress

from deploy.bench import burst, latency
from deploy.bench.cluster import cluster
from deploy.bench.measure import Result
from deploy.serving import children_end_with_us

__all__ = ["measure"]


def measure(
    progress: Progress,
    rounds: int,
    alerts: int,
    alerts_per_s: float,
    seconds: float,
    bootstrap_servers: str | None,
) -> list[Result]:
    """Measure on the given cluster or on embedded brokers, which keep everything in memory."""
    with (
        children_end_with_us(),
        tempfile.TemporaryDirectory(prefix="tinyt2-bench-") as name,
    ):
        folder = Path(name)
        with cluster(bootstrap_servers) as servers:
            results = burst.measure(progress, servers, folder, rounds, alerts)
        # Another broker: the memory of the first one is free again.
        with cluster(bootstrap_servers) as servers:
            results += latency.measure(progress, servers, folder, alerts_per_s, seconds)
    return results
