"""The sizing table: the formula, and that the documentation shows what the command prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy.bench.scaleout import STREAMS, Stream, serve_cost_us, size, sizing_table
from deploy.cli import app
from models.errors import ConfigurationError

SIZING = Path(__file__).parents[2] / "deploy" / "SIZING.md"


def test_cores_are_half_busy_and_partitions_twice_the_replicas() -> None:
    need = size(Stream("s", 10_000, 10.0), 150e-6)
    assert (need.rate, need.replicas, need.partitions) == (1000.0, 1, 2)
    assert need.cores == pytest.approx(0.3)
    need = size(Stream("s", 1_000_000, 10.0), 150e-6)
    assert (need.replicas, need.partitions) == (30, 60)


def test_the_cost_is_read_from_what_bench_kafka_writes(tmp_path: Path) -> None:
    path = tmp_path / "kafka.json"
    rows = [{"name": "burst_s", "value": 3}, {"name": "serve_cpu_vs_consume", "value": 161.5}]
    path.write_text(json.dumps({"benchmarks": rows}))
    assert serve_cost_us(path) == 161.5
    printed = CliRunner().invoke(app, ["bench", "scaleout", "--kafka-json", str(path)])
    assert printed.exit_code == 0 and "161.5 us" in printed.output


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": []}', '{"benchmarks": [{"a": 1}]}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"other\.json is not what"):
        serve_cost_us(path)


def test_the_cost_comes_from_one_place() -> None:
    for arguments in ([], ["--cost-us", "1", "--kafka-json", "x"]):
        assert CliRunner().invoke(app, ["bench", "scaleout", *arguments]).exit_code == 2


def test_the_documented_table_is_what_the_command_prints() -> None:
    text = SIZING.read_text()
    found = re.search(r"tinyt2 bench scaleout --cost-us ([0-9.]+)\n", text)
    assert found is not None
    console = Console(width=100)
    with console.capture() as printed:
        console.print(sizing_table(float(found[1])))
    block = text.split("```text\n")[1].split("```")[0]
    assert [line.rstrip() for line in printed.get().splitlines()] == block.splitlines()
    assert all(stream.name in block for stream in STREAMS)
