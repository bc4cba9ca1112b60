"""Fixtures that every room uses: the real alert packets of `tests/data`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest_plugins = ["tests.brokers", "tests.noida", "tests.pipelines", "tests.benches"]

ALERTS = Path(__file__).parent / "data" / "alerts"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tests marked long run only when they are asked for."""
    parser.addoption("--run-long", action="store_true", help="run the tests marked long, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests."""
    if config.getoption("--run-long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def alerts_dir() -> Path:
    """Folder of the packets; see `tests/data/NOTICE.md`."""
    return ALERTS


@pytest.fixture(scope="session")
def fixture_index() -> list[dict[str, str]]:
    """Rows of `tests/data/alerts/index.csv`, one per packet."""
    return read_index()


def read_index() -> list[dict[str, str]]:
    with (ALERTS / "index.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``packet`` once for each row of the index."""
    if "packet" in metafunc.fixturenames:
        rows = read_index()
        metafunc.parametrize("packet", rows, ids=[row["path"] for row in rows])
