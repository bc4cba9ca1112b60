"""A Kafka cluster for tests: an embedded broker, or the one that ``TINYT2_KAFKA`` names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol
from uuid import uuid4

import pytest

from deploy.broker import EmbeddedBroker, create_topics


class Broker(Protocol):
    @property
    def bootstrap_servers(self) -> str: ...

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None: ...


class ExistingCluster:
    """A cluster that somebody else runs."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        create_topics(self.bootstrap_servers, names, partitions)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One cluster for the whole run: take names from ``fresh_name``."""
    if servers := os.environ.get("TINYT2_KAFKA"):
        yield ExistingCluster(servers)
        return
    with EmbeddedBroker() as embedded:
        yield embedded


def fresh_name(prefix: str) -> str:
    """Return a name for a topic or group that no other test uses."""
    return f"{prefix}-{uuid4().hex[:12]}"
