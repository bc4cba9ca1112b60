"""Every ``tinyt2 bench`` command, run once for all tests that look at its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.bench.measure import Result
from deploy.cli import app
from tests.brokers import Broker

# Large enough for the ratios to mean something, where they are looked at.
ARGUMENTS = {
    "decode": ["--rounds", "3", "--alerts", "512"],
    "features": ["--rounds", "2", "--alerts", "64", "--largest-batch", "4"],
    "inference": ["--rounds", "3", "--alerts", "512", "--largest-batch", "16"],
    "replay": ["--rounds", "3", "--alerts", "2000"],
    "kafka": ["--rounds", "1", "--alerts", "1000", "--rate", "50", "--seconds", "2"],
    "startup": ["--rounds", "1", "--cold-rounds", "0"],
    "page": ["--rounds", "3"],
    "memory": ["--alerts", "1500", "--first", "500"],
}


@dataclass(frozen=True)
class Bench:
    """What a command printed and wrote."""

    output: str
    document: dict[str, Any]

    @property
    def results(self) -> dict[str, Result]:
        """Return the results by name."""
        return {row["name"]: Result(**row) for row in self.document["benchmarks"]}


RunBench = Callable[[str], Bench]


@pytest.fixture(scope="session")
def bench(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> RunBench:
    """Return the results of a command, which runs when it is first asked for."""
    done: dict[str, Bench] = {}

    def run(command: str) -> Bench:
        if command not in done:
            path = tmp_path_factory.mktemp("bench") / f"{command}.json"
            done[command] = _run(command, path, broker.bootstrap_servers)
        return done[command]

    return run


def _run(command: str, path: Path, bootstrap_servers: str) -> Bench:
    arguments = ["bench", command, *ARGUMENTS[command], "--json", str(path)]
    if command == "kafka":
        arguments += ["--bootstrap-servers", bootstrap_servers]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Bench(result.output, json.loads(path.read_text()))
