"""The broker noida for tests: what the embedded one cannot do, offsets by time above all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import BrokerProcess, transactional_broker

__all__ = ["Noida", "noida"]

Noida = BrokerProcess


@pytest.fixture(scope="session")
def noida(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Noida]:
    """One broker for the whole run."""
    with transactional_broker(tmp_path_factory.mktemp("noida")) as broker:
        yield broker
