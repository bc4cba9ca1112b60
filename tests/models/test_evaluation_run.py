"""``tinyt2 evaluate``, but for the command line: files in, files out, errors in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from models.bundle import Card, Manifest
from models.errors import BundleError, ConfigurationError
from models.evaluate_bundle import EvaluationConfig
from models.evaluation_run import EXTRA_TREES, run
from models.export import write
from models.recipe import DataRecipe
from tests.models.supernovae import write_spcc

FEW = EvaluationConfig(bootstrap=4, detections=(1, 3), days=(0,))
DATA = DataRecipe(dataset="spcc", split="object", validation=0.2, test=0.15)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spcc(tmp_path_factory.mktemp("spcc"), 20)


@pytest.fixture
def trained(tmp_path: Path, exported: bytes, manifest: Manifest, card: Card) -> Path:
    """A bundle whose card says how its data were divided."""
    said = card.model_copy(update={"training": {"recipe": {"data": DATA.model_dump()}}})
    return write(exported, manifest, said, tmp_path / "trained")


def evaluated(model: Path, folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    run(model, "spcc", folder, out, FEW, console=Console(file=io.StringIO()), **options)
    result: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return result


def test_all_of_a_data_set(bundle_path: Path, folder: Path, tmp_path: Path) -> None:
    result = evaluated(bundle_path, folder, tmp_path / "out")
    assert result["last_detection"]["objects"] == 12 * 20
    assert (result["data"]["part"], result["data"]["dataset"]) == ("all", "spcc")
    assert (tmp_path / "out" / "report.html").exists()


def test_parts_are_those_of_the_training(trained: Path, folder: Path, tmp_path: Path) -> None:
    sizes = {
        part: evaluated(trained, folder, tmp_path / part, part=part)["last_detection"]["objects"]
        for part in ("objects", "validation")
    }
    assert sizes["objects"] == pytest.approx(0.15 * 240, abs=3)
    assert sizes["validation"] == pytest.approx(0.2 * 240, abs=3)


def test_against_a_bundle(bundle_path: Path, folder: Path, tmp_path: Path) -> None:
    result = evaluated(bundle_path, folder, tmp_path / "out", against=bundle_path)
    assert result["against"]["last_detection"]["log_loss_ratio"]["value"] == 1.0


def test_against_the_baseline(trained: Path, folder: Path, tmp_path: Path) -> None:
    """An untrained network is worse than trees that were fitted to the training part."""
    result = evaluated(trained, folder, tmp_path / "out", part="objects", against=EXTRA_TREES)
    assert result["against"]["name"] == "extra trees on summary features"
    assert result["against"]["last_detection"]["log_loss_ratio"]["low"] > 1
    assert "extra trees" in (tmp_path / "out" / "report.html").read_text()


def test_the_baseline_needs_a_training_part(
    bundle_path: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="name one instead of 'all'"):
        evaluated(bundle_path, folder, tmp_path, against=EXTRA_TREES)


def test_thresholds_of_another_evaluation(bundle_path: Path, folder: Path, tmp_path: Path) -> None:
    first = evaluated(bundle_path, folder, tmp_path / "first")
    second = evaluated(
        bundle_path, folder, tmp_path / "second", thresholds_from=tmp_path / "first/evaluation.json"
    )
    assert first["applied"] == {}
    applied = second["applied"]["last_detection"]["1"]
    found = first["thresholds"]["last_detection"]["1"]
    compared = 0
    for name, cuts in found.items():
        for precision, cut in cuts.items():
            if cut is not None:
                compared += 1
                assert applied[name][precision][name] == cut["recall"]
    assert compared


def test_a_part_of_what_it_was_not_trained_on(
    bundle_path: Path, trained: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="was not trained on the data set 'spcc'"):
        evaluated(bundle_path, folder, tmp_path, part="objects")
    with pytest.raises(ConfigurationError, match="no part 'half'; known: all, validation, objects"):
        evaluated(trained, folder, tmp_path, part="half")


def test_objects_that_were_trained_on_are_warned_of(
    tmp_path: Path, folder: Path, exported: bytes, manifest: Manifest, card: Card
) -> None:
    name = "simulated DES supernovae (SPCC, Kessler et al. 2010)"
    said = manifest.model_copy(update={"training_data": name})
    path = write(exported, said, card, tmp_path / "same")
    result = evaluated(path, folder, tmp_path / "out")
    assert "trained on some of these objects" in result["warnings"][0]
    assert "trained on some of these objects" in (tmp_path / "out" / "report.html").read_text()


def test_files_that_are_none_are_one_line_errors(
    bundle_path: Path, folder: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1, 2]")
    with pytest.raises(ConfigurationError, match="is not an evaluation"):
        evaluated(bundle_path, folder, tmp_path, thresholds_from=wrong)
    with pytest.raises(ConfigurationError, match=r"cannot read .*none\.json: No such file"):
        evaluated(bundle_path, folder, tmp_path, thresholds_from=tmp_path / "none.json")
    with pytest.raises(BundleError, match="cannot read the model"):
        evaluated(tmp_path / "none.onnx", folder, tmp_path)
    with pytest.raises(ConfigurationError, match="no data set 'zoo'"):
        run(bundle_path, "zoo", folder, tmp_path)
