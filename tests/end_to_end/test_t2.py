"""The paper's network in a bundle serves like any other."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from models.bundle import Card, Manifest, ModelClass
from models.errors import BundleError
from models.export import golden_inputs, to_onnx, write
from models.feature_sets import FeatureSet, ProcessGrid
from models.lightcurve import BANDS
from models.runtime import load_classifier
from models.t2 import T2, T2Config
from tests.models.supernovae import random_curves

FEATURES = ProcessGrid(("ztf:g", "ztf:r"))


@pytest.fixture(scope="module")
def network() -> T2:
    """A small t2 with random weights."""
    torch.manual_seed(2)
    network = T2(T2Config(n_channels=2, n_classes=3, width=8, heads=4, feed_forward=16))
    network.standardise(FEATURES.inputs(*random_curves([40] * 30, bands=[6, 7])))
    return network.eval()


def write_bundle(network: T2, folder: Path, named: FeatureSet) -> Path:
    """Write a network over g and r, with the features that its manifest shall name."""
    content = to_onnx(network, FEATURES)
    manifest = Manifest(
        name="t2-untrained",
        version="0",
        classes=[ModelClass(name=f"class-{i}", id=i) for i in (2222, 2223, 2224)],
        bands=[band.key for band in BANDS],
        surveys=["ztf", "lsst"],
        feature_spec=named.spec,
        ood_threshold=None,
        minimum_observations=1,
        length_buckets=list(named.lengths),
        precision="float32",
        training_data="nothing",
        notice="",
        recipe="",
        parent=None,
        golden=golden_inputs(content, FEATURES),
    )
    card = Card(
        model_sha256="",
        name=manifest.name,
        version="0",
        notice="",
        architecture={},
        training={},
        evaluation={},
        drift_reference={},
        libraries={},
    )
    return write(content, manifest, card, folder)


@pytest.fixture(scope="module")
def bundle(network: T2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(network, tmp_path_factory.mktemp("t2"), FEATURES)


def test_answers_are_those_of_the_network(network: T2, bundle: Path) -> None:
    curves, trigger = random_curves([3, 60, 0, 300, *[17] * 20])
    answer = load_classifier(bundle).predict(curves, trigger)
    (inputs,) = FEATURES.inputs(curves, trigger)
    with torch.inference_mode():
        probabilities, ood_score = network(*map(torch.from_numpy, inputs.arrays))
    np.testing.assert_allclose(answer.probabilities, probabilities.numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.ood_score, ood_score.numpy(), atol=1e-4)


def test_a_replay_classifies_every_alert(
    bundle: Path, alerts_dir: Path, fixture_index: list[dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "t2.toml").write_text(f'[model]\npath = "{bundle}"\n')
    command = [sys.executable, "-m", "deploy.cli", "replay", str(alerts_dir)]
    options = ["--out", "out.parquet", "--config", "t2.toml"]
    done = subprocess.run(
        command + options, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist(maps_as_pydicts="strict")
    outcomes = Counter(row["outcome"] for row in rows)
    decodes = [row for row in fixture_index if row["expected"] == "decodes"]
    assert outcomes["dead_letter"] == len(fixture_index) - len(decodes)
    answers = [row["probabilities"] for row in rows if row["outcome"] == "classified"]
    assert len(answers) > len(decodes) / 2
    assert {frozenset(answer) for answer in answers} == {frozenset(answers[0])}
    values = np.array([list(answer.values()) for answer in answers])
    np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-5)
    assert len(np.unique(values.round(4), axis=0)) > len(answers) / 2


@pytest.mark.parametrize("bands", [("ztf:g",), ("ztf:g", "ztf:r", "ztf:i")])
def test_a_grid_of_other_channels_is_refused(
    network: T2, tmp_path: Path, bands: tuple[str, ...]
) -> None:
    path = write_bundle(network, tmp_path, ProcessGrid(bands))
    with pytest.raises(BundleError, match=r"reads steps of shape .*100, 2.*features 'gp-grid"):
        load_classifier(path)


def test_another_order_of_channels_is_noticed(network: T2, tmp_path: Path) -> None:
    path = write_bundle(network, tmp_path, ProcessGrid(("ztf:r", "ztf:g")))
    with pytest.raises(BundleError, match="for its golden input 0"):
        load_classifier(path)
