"""Training learns, repeats itself to the byte, and resumes to the same byte."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from models.augment import at_last_detection
from models.calibrate import prior_shift, softmax
from models.errors import ConfigurationError, DataError
from models.networks import batch_tensors, curve_scores
from models.recipe import DataRecipe, ModelRecipe, NetworkRecipe, Recipe, TrainingRecipe
from models.runtime import load_classifier
from models.train import load_parts, run
from models.trainer import Trainer
from tests.models.supernovae import random_curves, write_spcc

RECIPE = Recipe(
    model=ModelRecipe(name="trial"),
    data=DataRecipe(split="template", validation=0.2, test=0.2),
    network=NetworkRecipe(width=8, latents=2, heads=2),
    training=TrainingRecipe(epochs=6, batch=32, lr=1e-2, averaging=0.9, templates=0.2),
)


def changed(section: str, **values: object) -> Recipe:
    return RECIPE.model_copy(update={section: getattr(RECIPE, section).model_copy(update=values)})


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spcc(tmp_path_factory.mktemp("spcc"), per_template=30)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a bundle that was trained for a few seconds."""
    return run(RECIPE, data, tmp_path_factory.mktemp("first"), console=quiet(), bootstrap=20)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trainer(data: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(load_parts(recipe.data, data), recipe)


def test_the_bundle_loads_and_answers_its_golden_inputs(made: Path) -> None:
    manifest = load_classifier(made).bundle.manifest
    assert [c.name for c in manifest.classes] == ["SNIa", "SNIbc", "SNII"]
    assert len(manifest.golden) == 2
    assert "simulated DES supernovae" in manifest.training_data


def test_it_learns(made: Path) -> None:
    """Better than answering the class frequencies, whose log-loss is 0.93 here."""
    card = json.loads((made.parent / "card.json").read_text())
    assert card["evaluation"]["objects"]["last_detection"]["log_loss"]["value"] < 0.7
    with (made.parent / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["epoch"]) for row in rows] == list(range(card["training"]["epochs_run"]))
    assert float(rows[-1]["validation_log_loss"]) < float(rows[0]["validation_log_loss"])


def test_the_card_tells_how_it_was_made(made: Path) -> None:
    card = json.loads((made.parent / "card.json").read_text())
    assert card["model_sha256"] == sha256(made)
    assert card["architecture"]["width"] == 8
    assert card["training"]["recipe"]["training"]["seed"] == 0
    objects = card["training"]["objects"]
    assert sum(sum(part.values()) for part in objects.values()) == 12 * 30
    assert card["training"]["templates_never_trained_on"]
    assert set(card["drift_reference"]["inputs"]) >= {"log_scale", "log_count", "log_detections"}
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
    path = run(RECIPE, data, tmp_path, resume=True, console=quiet(), bootstrap=20)
    assert sha256(path) == sha256(made)
    assert (tmp_path / "metrics.csv").read_bytes() == (made.parent / "metrics.csv").read_bytes()


def test_muon_learns_and_is_taken_up_again(data: Path, tmp_path: Path) -> None:
    recipe = changed("training", muon=True)
    path = run(recipe, data, tmp_path / "whole", console=quiet(), bootstrap=20)
    card = json.loads((path.parent / "card.json").read_text())
    assert card["evaluation"]["objects"]["last_detection"]["log_loss"]["value"] < 0.85
    stopped = trainer(data, recipe)
    for _ in range(2):
        stopped.run_epoch()
        stopped.save(tmp_path)
    again = run(recipe, data, tmp_path, resume=True, console=quiet(), bootstrap=20)
    assert sha256(again) == sha256(path)


def test_another_seed_makes_another_model(data: Path) -> None:
    first, other = trainer(data), trainer(data, changed("training", seed=1))
    assert first.run_epoch().train_loss != other.run_epoch().train_loss
    assert first.parts.held_out == other.parts.held_out


def test_a_run_of_another_configuration_is_not_resumed(data: Path, tmp_path: Path) -> None:
    trainer(data).save(tmp_path)
    other = changed("augmentation", drop=0.1)
    with pytest.raises(ConfigurationError, match="was made with another recipe"):
        run(other, data, tmp_path, resume=True, console=quiet())


def test_a_checkpoint_that_lacks_something_is_not_resumed(data: Path, tmp_path: Path) -> None:
    trainer(data).save(tmp_path)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "beside"}, path)
    with pytest.raises(ConfigurationError, match="another version"):
        run(RECIPE, data, tmp_path, resume=True, console=quiet())


def test_training_stops_when_validation_no_longer_improves(data: Path) -> None:
    """A learning rate of zero never improves on the first epoch."""
    still = trainer(data, changed("training", lr=0.0, patience=2, epochs=50))
    while not still.done:
        still.run_epoch()
    assert (still.epoch, still.best_epoch) == (3, 0)


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder must contain spcc_train"):
        run(RECIPE, tmp_path, tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()


def test_classes_can_be_drawn_and_weighed_alike(data: Path) -> None:
    """Of 12 templates Ia has two: balanced, a third of what is drawn is Ia, not a sixth."""
    balanced = trainer(data, changed("training", balance=1.0))
    rows = balanced.pool.draw(np.random.default_rng(0))
    assert np.mean(balanced.pool.label[rows] == 0) == pytest.approx(1 / 3, abs=0.06)
    natural = trainer(data)
    assert np.mean(natural.pool.label[natural.pool.draw(np.random.default_rng(0))] == 0) < 0.25
    flat = trainer(data, changed("training", flat=True))
    counts = np.bincount(flat.pool.label)
    np.testing.assert_allclose(flat.class_weight.numpy() * counts, counts.sum() / 3, rtol=1e-6)


def test_what_is_an_artefact_is_learnt(data: Path) -> None:
    """Noise without any signal beside supernovae, as artefacts: told apart in a few epochs."""
    parts = load_parts(RECIPE.data, data)
    noise, _ = random_curves([20] * 150, seed=1, bands=[9, 10, 11, 12])
    with_noise = replace(parts, artefacts={"train": noise})
    learning = Trainer(with_noise, RECIPE)
    while not learning.done:
        learning.run_epoch()
    model = learning.best_model()
    others, trigger = random_curves([20] * 100, seed=2, bands=[9, 10, 11, 12])
    logits, score = curve_scores(model, learning.features, others, trigger)
    _, of_objects = learning.validation.scores(model)
    assert np.median(score) > np.quantile(of_objects, 0.9)
    assert np.mean(softmax(logits).max(axis=1)) < 0.6


def test_a_stated_mix_of_classes_shifts_the_probabilities(data: Path, tmp_path: Path) -> None:
    mix = {"SNIbc": 0.2, "SNII": 3.0}
    plain = run(RECIPE, data, tmp_path / "plain", console=quiet(), bootstrap=0)
    shifted = run(
        changed("model", class_mix=mix), data, tmp_path / "mix", console=quiet(), bootstrap=0
    )
    curves, trigger = random_curves([20] * 30, seed=4, bands=[9, 10, 11, 12])
    before = load_classifier(plain).predict(curves, trigger).probabilities
    after = load_classifier(shifted).predict(curves, trigger).probabilities
    expected = prior_shift(before, np.ones(3), np.array([1.0, 0.2, 3.0]))
    np.testing.assert_allclose(after, expected, atol=1e-5)
    with pytest.raises(ConfigurationError, match="class_mix: no class Mira"):
        run(changed("model", class_mix={"Mira": 1.0}), data, tmp_path / "no", console=quiet())


def test_a_run_can_begin_with_the_weights_of_another(data: Path, made: Path) -> None:
    """Standing still, it answers as the earlier one; learning, it is ahead of a new network."""
    before = Trainer(load_parts(RECIPE.data, data), RECIPE)
    before.resume(made.parent)
    parts = before.parts
    still = Trainer(parts, changed("training", lr=1e-12, epochs=1), made.parent)
    still.run_epoch()
    now, then = (still.validation.scores(t.best_model())[0] for t in (still, before))
    np.testing.assert_allclose(now, then, atol=1e-4)
    ahead = Trainer(parts, changed("training", lr=1e-3), made.parent).run_epoch()
    new = Trainer(parts, changed("training", lr=1e-3)).run_epoch()
    assert ahead.validation_log_loss < new.validation_log_loss - 0.1


def test_a_run_does_not_begin_with_weights_that_do_not_fit(data: Path, made: Path) -> None:
    parts = load_parts(RECIPE.data, data)
    with pytest.raises(ConfigurationError, match="is not that of the recipe"):
        Trainer(parts, changed("network", width=12), made.parent)
    renamed = replace(parts, train=replace(parts.train, classes=("SNIa", "SNII", "SNIbc")))
    with pytest.raises(ConfigurationError, match="knows the classes SNIa, SNIbc, SNII, the data"):
        Trainer(renamed, RECIPE, made.parent)


def test_templates_are_told_apart_beside_the_classes(data: Path) -> None:
    """Templates that all seem alike have a log-loss of the logarithm of their number."""
    learning = trainer(data, changed("training", templates=1.0))
    while not learning.done:
        learning.run_epoch()
    part = learning.parts.train
    trigger = at_last_detection(part.curves)
    inputs = learning.features.batch(part.curves, trigger, np.arange(len(part)))
    with torch.inference_mode():
        told = learning.templates(learning.averaged.model.pooled(*batch_tensors(inputs)))
    loss = cross_entropy(told, torch.from_numpy(part.group)).item()
    assert loss < 0.9 * np.log(len(np.unique(part.group)))
