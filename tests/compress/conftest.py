"""A good and a bad model of the same objects, trained once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.optimiser import torch_threads
from tests.compress.bundles import RECIPE, WORSE, trained
from tests.models.supernovae import write_spcc


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spcc(tmp_path_factory.mktemp("spcc"), per_template=30)


@pytest.fixture(scope="session")
def good(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(RECIPE, data, tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bad(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(WORSE, data, tmp_path_factory.mktemp("bad"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a run has: more threads wait for one another where processors are shared."""
    with torch_threads(1):
        yield
