"""Training learns, repeats itself to the byte, and resumes to the same byte."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from models.augment import Augmentation
from models.datasets import load
from models.errors import ConfigurationError, DataError
from models.runtime import load_classifier
from models.split import split_by_template
from models.train import TrainConfig, run
from models.trainer import Trainer
from tests.models.supernovae import write_spcc

CONFIG = TrainConfig(
    epochs=6, batch=32, lr=1e-2, width=8, latents=2, heads=2, bootstrap=20, averaging=0.9
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spcc(tmp_path_factory.mktemp("spcc"), per_template=30)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a bundle that was trained for a few seconds."""
    return run(data, tmp_path_factory.mktemp("first"), CONFIG, console=Console(file=io.StringIO()))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trainer(data: Path, config: TrainConfig = CONFIG) -> Trainer:
    labelled = load("spcc", data)
    return Trainer(labelled, split_by_template(labelled, config.split_seed), config)


def test_the_bundle_loads_and_answers_its_golden_inputs(made: Path) -> None:
    manifest = load_classifier(made).bundle.manifest
    assert [c.name for c in manifest.classes] == ["SNIa", "SNIbc", "SNII"]
    assert len(manifest.golden) == 2
    assert "simulated DES supernovae" in manifest.notice


def test_it_learns(made: Path) -> None:
    """Better than answering the class frequencies, whose log-loss is 0.93 here."""
    card = json.loads((made.parent / "card.json").read_text())
    assert card["evaluation"]["test"]["last_detection"]["log_loss"]["value"] < 0.7
    with (made.parent / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["epoch"]) for row in rows] == list(range(card["training"]["epochs_run"]))
    assert float(rows[-1]["validation_log_loss"]) < float(rows[0]["validation_log_loss"])


def test_the_card_tells_how_it_was_made(made: Path) -> None:
    card = json.loads((made.parent / "card.json").read_text())
    assert card["model_sha256"] == sha256(made)
    assert card["architecture"]["width"] == 8
    assert card["training"]["config"]["seed"] == 0
    objects = card["training"]["objects"]
    assert sum(sum(part.values()) for part in objects.values()) == 12 * 30
    assert card["training"]["templates_never_trained_on"]
    assert set(card["drift_reference"]["inputs"]) == {"log_scale", "log_count", "log_detections"}
    assert sum(card["drift_reference"]["predicted_fractions"].values()) == pytest.approx(1.0)
    assert set(card["libraries"]) >= {"torch", "onnx", "numpy"}


def test_the_same_seed_makes_the_same_file_even_when_interrupted(
    data: Path, made: Path, tmp_path: Path
) -> None:
    """Stop after two epochs as a kill would, and take the run up again."""
    stopped = trainer(data)
    for _ in range(2):
        stopped.run_epoch()
        stopped.save(tmp_path)
    path = run(data, tmp_path, CONFIG, resume=True, console=Console(file=io.StringIO()))
    assert sha256(path) == sha256(made)
    assert (tmp_path / "metrics.csv").read_bytes() == (made.parent / "metrics.csv").read_bytes()


def test_another_seed_makes_another_model(data: Path) -> None:
    first, other = trainer(data), trainer(data, replace(CONFIG, seed=1))
    assert first.run_epoch().train_log_loss != other.run_epoch().train_log_loss
    assert first.split.held_out == other.split.held_out


def test_a_run_of_another_configuration_is_not_resumed(data: Path, tmp_path: Path) -> None:
    trainer(data).save(tmp_path)
    changed = replace(CONFIG, augmentation=Augmentation(drop=0.1))
    with pytest.raises(ConfigurationError, match="was made with another configuration"):
        run(data, tmp_path, changed, resume=True, console=Console(file=io.StringIO()))


def test_training_stops_when_validation_no_longer_improves(data: Path) -> None:
    """A learning rate of zero never improves on the first epoch."""
    still = trainer(data, replace(CONFIG, lr=0.0, patience=2, epochs=50))
    while not still.done:
        still.run_epoch()
    assert (still.epoch, still.best_epoch) == (3, 0)


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder must contain spcc_train"):
        run(tmp_path, tmp_path / "out", CONFIG, console=Console(file=io.StringIO()))
    assert not (tmp_path / "out").exists()
