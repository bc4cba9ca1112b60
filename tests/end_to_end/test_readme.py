"""What the README says is so: its commands run, its settings load, its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deploy.settings import load_settings
from models.bundle import load_bundle
from stream.alerts import NotClassifiedReason
from stream.deadletter import REASONS
from stream.metrics import Metrics
from stream.output.encoders import encode_avro
from stream.output.outcomes import Outcomes
from stream.output.schema import CLASSIFICATION
from tests.brokers import Broker
from tests.records import rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def _table(header: str) -> list[str]:
    """Return the first cells of the table whose header line begins so."""
    rows = README.split(header, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def _run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "COLUMNS": "100"}
    return subprocess.run(
        ["bash", "-c", command],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_command_is_known_here() -> None:
    lines = [line for block in _blocks("bash") for line in block.splitlines()]
    assert lines == [
        "make demo",
        "make test",
        "python3 -m venv tinyt2-env",
        "tinyt2-env/bin/pip install --constraint constraints.txt .",
        "tinyt2 replay tests/data/alerts --out results.parquet",
        "tinyt2 replay tests/data/alerts --out nights/ --workers 2",
        "tinyt2 replay tests/data/alerts --to-kafka alerts --rate 10000",
        "docker compose --file deploy/compose.yaml up --build",
        "tinyt2 model show",
    ]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_targets_exist(target: str) -> None:
    # The demo itself runs in test_demo, the installation in test_packaging.
    done = _run(f"make --dry-run {target}", ROOT)
    assert done.returncode == 0, done.stderr
    assert {"demo": "tinyt2 demo", "test": "pytest"}[target] in done.stdout


def test_replay_gives_the_output_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    done = _run("tinyt2 replay tests/data/alerts --out results.parquet", tmp_path)
    assert done.returncode == 0, done.stderr
    (shown,) = [block for block in _blocks("text") if "results.parquet" in block]
    assert _without_timing(done.stdout) == _without_timing(shown)

    (script,) = [block for block in _blocks("python") if "results.parquet" in block]
    (tmp_path / "look.py").write_text(script)
    looked = _run("python look.py", tmp_path)
    assert looked.returncode == 0, looked.stderr
    first = load_bundle().manifest.classes[0].name
    assert f"ZTF20aaelulu classified None {{'{first}':" in looked.stdout


def test_an_archive_goes_into_partitions(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    command = "tinyt2 replay tests/data/alerts --out nights/ --workers 2"
    done = _run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    (shown,) = [block for block in _blocks("text") if "results.parquet" in block]
    accounts = _without_timing(shown.split("Most probable class")[0])
    assert _without_timing(done.stdout)[: len(accounts)] == accounts
    assert (tmp_path / "nights" / "survey=ztf" / "night=20200111").is_dir()
    table = pq.read_table(tmp_path / "nights")
    assert set(table["survey"].to_pylist()) == {"ztf", "lsst", "unknown"}
    assert "55 messages were done by earlier runs" in _run(command, tmp_path).stdout


def test_an_archive_goes_to_a_topic(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    broker.create_topics(["alerts"])
    monkeypatch.setenv("TINYT2__KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    done = _run("tinyt2 replay tests/data/alerts --to-kafka alerts --rate 10000", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "55 messages acknowledged on topic alerts" in done.stdout


def _without_timing(output: str) -> list[str]:
    lines = [line.rstrip() for line in output.strip().splitlines()]
    return [re.sub(r"in [\d.]+ s = [\d,]+ alerts/s", "in N s", line) for line in lines]


def test_demo_output_has_the_lines_that_are_shown() -> None:
    (shown,) = [block for block in _blocks("text") if "end-to-end latency" in block]
    assert shown.count("ok  ") == 6
    assert load_bundle().sha256[:12] in shown


def test_model_show_runs(tmp_path: Path) -> None:
    done = _run("tinyt2 model show", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = load_bundle()
    assert bundle.sha256 in done.stdout
    assert "Trained on simulations only" in " ".join(done.stdout.split())


@pytest.mark.parametrize("block", _blocks("toml"))
def test_settings_load(block: str, tmp_path: Path) -> None:
    path = tmp_path / "tinyt2.toml"
    path.write_text(block)
    settings = load_settings(path, {})
    assert settings.kafka.bootstrap_servers == "kafka.example.org:9092"


def test_the_reader_of_the_default_format_works(outcomes: Outcomes) -> None:
    (script,) = [block for block in _blocks("python") if "schemaless_reader" in block]
    names: dict[str, object] = {"message": encode_avro(outcomes)[0]}
    exec(script, names)
    assert names["record"] == rows(outcomes)[0]


def test_every_field_is_explained() -> None:
    assert _table("| field | meaning |") == [field["name"] for field in CLASSIFICATION["fields"]]


def test_every_metric_is_listed() -> None:
    exported = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
        if family.name.startswith("tinyt2_")
    }
    assert set(_table("| metric | what |")) == exported


def test_every_reason_is_named() -> None:
    for reason in (*NotClassifiedReason, *REASONS):
        assert f"`{reason}`" in README


def test_figures_are_those_of_the_card() -> None:
    surveys = load_bundle().card.evaluation["templates"]["surveys"]
    for survey in ("ztf", "lsst"):
        for moment in ("last_detection", "random_detection"):
            figures = surveys[survey][moment]
            names = ("flat_log_loss", "macro_recall", "macro_f1", "macro_auc", "ece")
            cells = [f"{figures[name]['value']:.3f}" for name in names]
            assert " | ".join(cells) in README
