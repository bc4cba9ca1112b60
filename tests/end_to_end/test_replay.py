"""``tinyt2 replay`` over every fixture, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from stream.output.outcomes import Outcomes
from tests.records import rows


def _tinyt2(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def replayed(alerts_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("replay") / "results.parquet"
    done = _tinyt2("replay", alerts_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_every_fixture_has_the_outcome_that_its_index_says(
    replayed: tuple[Path, str], alerts_dir: Path, fixture_index: list[dict[str, str]]
) -> None:
    by_path: dict[str, list[dict[str, object]]] = {}
    for row in pq.read_table(replayed[0]).to_pylist():
        path = Path(row["topic"]).relative_to(alerts_dir)
        by_path.setdefault(str(path), []).append(row)
    assert len(by_path) == len(fixture_index)
    for fixture in fixture_index:
        got = by_path[fixture["path"]]
        if fixture["expected"] == "decodes":
            assert len(got) == int(fixture["n_records"])
            assert got[0]["alert_id"] == int(fixture["alert_id"])
            assert {row["outcome"] for row in got} <= {"classified", "not_classified"}
        else:
            (row,) = got
            assert row["outcome"] == "dead_letter"
            assert row["reason"] == fixture["refused_reason"]
            assert row["payload"] == (alerts_dir / fixture["path"]).read_bytes()


def test_the_summary_adds_up(replayed: tuple[Path, str]) -> None:
    out, summary = replayed
    outcomes = Counter(pq.read_table(out)["outcome"].to_pylist())
    alerts = outcomes["classified"] + outcomes["not_classified"]
    for line in (f"{alerts} alerts in", "alerts/s", "Trained on simulations only", str(out)):
        assert line in " ".join(summary.split())
    numbers = {
        tuple(line.split()[:-1]): int(line.split()[-1])
        for line in summary.replace("│", " ").splitlines()
        if line.split() and line.split()[-1].isdigit()
    }
    assert numbers["alerts",] == alerts
    assert numbers["classified",] == outcomes["classified"]
    dead = sum(n for key, n in numbers.items() if key[0] == "dead_letter")
    assert dead == outcomes["dead_letter"]
    assert numbers["messages",] == numbers["decoded",] + dead


def test_json_lines_say_the_same(
    replayed: tuple[Path, str], alerts_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    assert _tinyt2("replay", alerts_dir, "--out", out).returncode == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    table = pq.read_table(replayed[0]).to_pylist(maps_as_pydicts="strict")
    assert [row["probabilities"] for row in lines] == [row["probabilities"] for row in table]
    assert [row["outcome"] for row in lines] == [row["outcome"] for row in table]


def test_a_replay_gives_the_same_answers_as_the_stream(
    replayed: tuple[Path, str], outcomes: Outcomes
) -> None:
    expected = rows(outcomes)
    table = pq.read_table(replayed[0]).to_pylist(maps_as_pydicts="strict")
    got = [row for row in table if row["outcome"] != "dead_letter"]
    assert [row["probabilities"] for row in got] == [row["probabilities"] for row in expected]


def test_values_are_those_that_fastavro_reads(replayed: tuple[Path, str], alerts_dir: Path) -> None:
    by_path = {row["topic"]: row for row in pq.read_table(replayed[0]).to_pylist()}
    for path in sorted((alerts_dir / "ztf").rglob("*.avro")):
        with path.open("rb") as file:
            record: Any = next(iter(fastavro.reader(file)))
        row = by_path[str(path)]
        assert row["object_id"] == record["objectId"]
        assert row["alert_id"] == record["candid"]
        ms = round((record["candidate"]["jd"] - 2440587.5) * 86_400_000)
        assert abs(row["observation_time"].timestamp() * 1000 - ms) <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent", "--out", "x.parquet"], "absent"),
        ([".", "--out", "x.parquet"], "no alert files"),
        ([".", "--out", "x.csv"], ".parquet or .jsonl"),
        ([".", "--out", "x.parquet", "--config", "absent.toml"], "absent.toml"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "readme.txt").write_text("no alerts here")
    if says.startswith(".parquet"):
        (tmp_path / "a.avro").write_bytes(b"")
    done = _tinyt2("replay", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
