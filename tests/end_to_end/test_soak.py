"""A service that runs for long holds no more than one that has just warmed up."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.progress import Progress

from deploy.bench.measure import Result
from deploy.bench.memory import measure


def _soak(alerts: int, warm: int) -> dict[str, Result]:
    """Serve so many alerts, one in, one out; return what the service held, by name."""
    with Progress(console=Console(quiet=True)) as progress:
        results = {result.name: result for result in measure(progress, alerts, warm)}
    for name in ("rss_mb", "rss_threads", "rss_descriptors"):
        result = results[name]
        print(f"{name}: {result.peer_value:g} {result.peer}, {result.value:g} after {alerts:,}")
    return results


def _check_nothing_leaked(results: dict[str, Result]) -> None:
    for name in ("rss_threads", "rss_descriptors"):
        before = results[name].peer_value
        assert before is not None
        assert results[name].value <= before


def test_a_service_leaks_no_threads_or_descriptors() -> None:
    results = _soak(alerts=12_000, warm=4_000)
    _check_nothing_leaked(results)
    assert results["rss_growth_percent"].value <= 10


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_two_million_alerts_leave_memory_as_it_was() -> None:
    results = _soak(alerts=2_000_000, warm=200_000)
    _check_nothing_leaked(results)
    assert results["rss_growth_percent"].value <= 2
