from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from deploy.http import HttpServer
from models.errors import ConfigurationError


@dataclass
class Health:
    """What a service would say of itself."""

    live: bool = True
    checks: dict[str, bool] = field(default_factory=lambda: {"kafka": True, "model": True})


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("alerts", "Alerts.", ["survey"], registry=registry).labels("ztf").inc(3)
    return registry


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def url(registry: CollectorRegistry, health: Health) -> Iterator[str]:
    server = HttpServer("127.0.0.1", 0, registry, lambda: health.live, lambda: health.checks)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_metrics_are_text_for_prometheus(url: str) -> None:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'alerts_total{survey="ztf"} 3.0' in answer.text


def test_metrics_are_openmetrics_for_those_who_ask(url: str) -> None:
    answer = httpx.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize(("live", "status"), [(True, 200), (False, 503)])
def test_live_follows_the_service(url: str, health: Health, live: bool, status: int) -> None:
    health.live = live
    assert httpx.get(f"{url}/health/live").status_code == status


def test_ready_names_the_checks(url: str, health: Health) -> None:
    assert httpx.get(f"{url}/health/ready").status_code == 200
    health.checks["kafka"] = False
    answer = httpx.get(f"{url}/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"kafka": False, "model": True}


def test_other_paths_and_methods_are_refused(url: str) -> None:
    assert httpx.get(f"{url}/").status_code == 404
    assert httpx.post(f"{url}/metrics").status_code == 405


def test_a_port_in_use_is_named(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer("127.0.0.1", port, registry, lambda: True, dict)
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port} .*in use") as caught:
            server.start()
    assert caught.value.value == ("127.0.0.1", port)
    server.stop()


def test_an_unknown_host_is_named(registry: CollectorRegistry) -> None:
    server = HttpServer("no.such.host.invalid", 0, registry, lambda: True, dict)
    with pytest.raises(ConfigurationError, match=r"no\.such\.host\.invalid"):
        server.start()


def test_the_port_is_free_again_after_stop(registry: CollectorRegistry) -> None:
    first = HttpServer("127.0.0.1", 0, registry, lambda: True, dict)
    first.start()
    port = first.port
    httpx.get(f"http://127.0.0.1:{port}/health/live").raise_for_status()
    first.stop()
    second = HttpServer("127.0.0.1", port, registry, lambda: True, dict)
    second.start()
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").text == "live"
    second.stop()
