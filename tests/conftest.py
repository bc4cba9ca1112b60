"""Fixtures that every room uses: the real alert packets of `tests/data`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest_plugins = ["tests.brokers", "tests.pipelines", "tests.benches"]

ALERTS = Path(__file__).parent / "data" / "alerts"


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
