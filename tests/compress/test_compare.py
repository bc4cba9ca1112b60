"""Two models side by side, and how their answers differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from compress.changes import changes, judged
from compress.compare import compare
from compress.sizes import sizes
from deploy.cli import app
from models.datasets import load
from models.runtime import load_classifier
from tests.compress.bundles import unseen


def test_what_differs_is_told(good: Path, bad: Path, data: Path) -> None:
    found = compare(good, bad, unseen(data), bootstrap=10)
    assert found.sizes == (sizes(good), sizes(bad))
    assert found.manifest == {"name": ("trial", "worse")}
    assert found.changes is not None
    answers = [judged(load_classifier(path), unseen(data)) for path in (good, bad)]
    assert found.changes == changes(answers[0], answers[1], bootstrap=10)
    agree = answers[0].probabilities.argmax(1) == answers[1].probabilities.argmax(1)
    assert found.changes.agreement == agree.mean() < 1
    for row, (before, after) in enumerate(found.changes.called.values()):
        assert before == (answers[0].probabilities.argmax(1) == row).mean()
        assert after == (answers[1].probabilities.argmax(1) == row).mean()
    console = Console(width=200)
    with console.capture() as captured:
        for table in found.tables():
            console.print(table)
    text = captured.get()
    for name in ("SNIa", "SNIbc", "SNII", "raw fp32 bytes", "worse 0.1.0", "log-loss"):
        assert name in text


def test_a_model_does_not_differ_from_itself(good: Path) -> None:
    found = compare(good, good)
    assert found.manifest == {}
    assert found.changes is None
    assert [table.title for table in found.tables()] == ["Models"]


def test_the_command_prints_json(good: Path, bad: Path, data: Path) -> None:
    command = ["model", "compare", str(good), str(bad), "--json", "--bootstrap", "5"]
    done = CliRunner().invoke(app, [*command, "--data", str(data), "--dataset", "spcc"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [model["sha256"] for model in told["models"]] == [
        load_classifier(path).bundle.sha256 for path in (good, bad)
    ]
    everything = judged(load_classifier(good), load("spcc", data))
    assert told["answers"]["alerts"] == len(everything)
    part = CliRunner().invoke(
        app, [*command, "--data", str(data), "--dataset", "spcc", "--part", "objects"]
    )
    assert json.loads(part.stdout)["answers"]["objects"] == pytest.approx(len(unseen(data)), abs=2)
