"""Small bundles: trained in seconds on made-up supernovae, or exported with random weights."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from models.bundle import Card, Manifest, ModelClass
from models.datasets import LabelledCurves
from models.export import golden_inputs, to_onnx, write
from models.feature_sets import FeatureSet, ObservationTokens
from models.lightcurve import BANDS
from models.networks import n_parameters
from models.recipe import DataRecipe, ModelRecipe, NetworkRecipe, Recipe, TrainingRecipe
from models.t2 import T2
from models.taxonomy import class_id
from models.tiny import Tiny
from models.train import load_parts, run
from tests.models.supernovae import random_curves

TOKENS = ObservationTokens()

RECIPE = Recipe(
    model=ModelRecipe(name="trial"),
    data=DataRecipe(validation=0.2, test=0.3),
    network=NetworkRecipe(width=8, latents=2, heads=2),
    training=TrainingRecipe(epochs=6, batch=32, lr=1e-2, averaging=0.9),
)
WORSE = RECIPE.model_copy(
    update={
        "model": ModelRecipe(name="worse"),
        "network": NetworkRecipe(width=4, latents=1, heads=1),
        "training": RECIPE.training.model_copy(update={"epochs": 1, "lr": 1e-4}),
    }
)


def quiet() -> Console:
    """A console that nobody sees."""
    return Console(file=io.StringIO(), width=200)


def trained(recipe: Recipe, data: Path, out: Path) -> Path:
    """Train a model without intervals and return its path."""
    return run(recipe, data, out, console=quiet(), bootstrap=0)


def unseen(data: Path) -> LabelledCurves:
    """Return the objects that no model here was trained on."""
    return load_parts(RECIPE.data, data).tests["objects"]


def untrained(network: Tiny | T2, out: Path, features: FeatureSet = TOKENS) -> Path:
    """Write a network as it is as a bundle of three classes."""
    curves, trigger = random_curves([20] * 40, seed=5)
    network.standardise(features.inputs(curves, trigger))
    content = to_onnx(network.eval(), features)
    manifest = Manifest(
        name="untrained",
        version="0",
        classes=[ModelClass(name=n, id=class_id(n)) for n in ("SNIa", "SNIbc", "SNII")],
        bands=[band.key for band in BANDS],
        surveys=["ztf", "lsst"],
        feature_spec=features.spec,
        precision="float32",
        minimum_observations=1,
        ood_threshold=None,
        length_buckets=list(features.lengths),
        training_data="nothing",
        notice="",
        recipe="",
        parent=None,
        golden=golden_inputs(content, features),
    )
    card = Card(
        model_sha256="",
        name="untrained",
        version="0",
        notice="",
        architecture={"parameters": n_parameters(network)},
        training={},
        evaluation={},
        drift_reference={},
        libraries={},
    )
    return write(content, manifest, card, out)
