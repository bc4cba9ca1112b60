"""A bundle of an untrained network, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle import Card, Manifest, ModelClass
from models.export import golden_inputs, to_onnx, write
from models.feature_sets import ObservationTokens
from models.features import FEATURE_SPEC, LENGTH_BUCKETS, model_inputs
from models.lightcurve import BANDS
from models.tiny import Tiny, TinyConfig
from tests.models.supernovae import random_curves


@pytest.fixture(scope="session")
def network() -> Tiny:
    """A small network with random weights, standardised on random curves."""
    torch.manual_seed(3)
    model = Tiny(TinyConfig(n_classes=3, width=8, latents=2, heads=2))
    curves, trigger = random_curves(np.random.default_rng(4).integers(1, 60, 40).tolist(), seed=5)
    model.standardise(model_inputs(curves, trigger))
    return model.eval()


@pytest.fixture(scope="session")
def exported(network: Tiny) -> bytes:
    """The network as an ONNX file without manifest."""
    return to_onnx(network, ObservationTokens())


@pytest.fixture(scope="session")
def manifest(exported: bytes) -> Manifest:
    return Manifest(
        name="untrained",
        version="0",
        classes=[
            ModelClass(name="SNIa", id=2222),
            ModelClass(name="SNIbc", id=2223),
            ModelClass(name="SNII", id=2224),
        ],
        bands=[band.key for band in BANDS],
        surveys=["ztf", "lsst"],
        feature_spec=FEATURE_SPEC,
        precision="float32",
        minimum_observations=1,
        ood_threshold=None,
        length_buckets=list(LENGTH_BUCKETS),
        training_data="nothing",
        notice="",
        recipe="",
        parent=None,
        golden=golden_inputs(exported, ObservationTokens()),
    )


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(
        model_sha256="",
        name="untrained",
        version="0",
        notice="",
        architecture={},
        training={},
        evaluation={},
        drift_reference={},
        libraries={},
    )


@pytest.fixture
def bundle_path(tmp_path: Path, exported: bytes, manifest: Manifest, card: Card) -> Path:
    """The path of a sound bundle that a test may damage."""
    return write(exported, manifest, card, tmp_path / "bundle")
