"""The whole chain: stages, gates, resumption to the same bytes, and a step that does harm."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.chain import run
from compress.recipe import CompressionRecipe, ReportRecipe
from compress.sizes import sizes
from deploy import cli
from deploy.compression import load_compression
from models.errors import ConfigurationError, GateError
from models.runtime import load_classifier
from tests.compress.bundles import quiet

RECIPES = Path(__file__).parents[2] / "compress" / "recipes"
QUICK = RECIPES / "quick.toml"

pytestmark = pytest.mark.timeout(900)
"""A dozen models are trained and exported: a minute of a core that nobody else uses."""

HARMFUL = """
[model]
name = "harmed"
[data]
validation = 0.2
test = 0.3
[teacher]
run = "{teacher}"
[transfer]
views = 1
[[steps]]
kind = "prune_structured"
latents = 1
heads = 1
feed_forward = 1
epochs = 0
[report]
twins = false
bootstrap = 20
rounds = 1
"""

PRUNED = (
    HARMFUL.split("[[steps]]")[0]
    + """
[[steps]]
kind = "cluster"
tensors = ["head.weight"]
epochs = 1
[[steps]]
kind = "prune_magnitude"
sparsity = 0.8
epochs = 1
fine_tune = 0
[gates]
max_recall_drop = 1.0
max_flat_log_loss_rise = 9
max_flat_log_loss_rise_slice = 9
max_ece = 1.0
min_agreement = 0.0
[report]
variants = ["float32"]
bootstrap = 20
rounds = 1
"""
)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of quick.toml."""
    out = tmp_path_factory.mktemp("quick")
    assert run(load_compression(QUICK), data, out, console=quiet(), command="tinyt2 ...")
    return out


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def brief() -> CompressionRecipe:
    """The same chain without what is only reported."""
    report = ReportRecipe(twins=False, bootstrap=20, rounds=1)
    return load_compression(QUICK).model_copy(update={"report": report})


def test_every_stage_is_a_bundle_and_the_last_is_promoted(made: Path) -> None:
    stages = ["00-teacher", "01-distill", "02-prune_structured", "03-quantize"]
    for stage in stages:
        load_classifier(made / stage / "model.onnx")
    final = load_classifier(made / "model.onnx").bundle
    assert final.sha256 == sha256(made / "03-quantize" / "model.onnx")
    assert final.manifest.precision == "int8"
    assert final.card.evaluation["objects"]["last_detection"]["log_loss"]["value"] < 0.9
    found = [sizes(made / stage / "model.onnx").file_bytes for stage in stages]
    assert found == sorted(found, reverse=True)
    assert found[-1] <= 20_106


def test_the_manifest_names_the_dense_parent(made: Path) -> None:
    parent = load_classifier(made / "model.onnx").bundle.manifest.parent
    assert parent is not None
    assert parent["sha256"] == sha256(made / "01-distill" / "model.onnx")
    assert parent["shapes"]["heads"] == [4, 4]
    assert parent["shapes"]["latents"] == 4
    card = load_classifier(made / "model.onnx").bundle.card
    assert card.architecture["latents"] == 2
    assert sum(card.architecture["heads"]) == 4


def test_the_report_has_twins_at_equal_bytes_and_all_variants(made: Path) -> None:
    rows = {
        row["name"]: row
        for row in json.loads((made / "report" / "report.json").read_text())["stages"]
    }
    assert [row["kind"] for row in rows.values()].count("stage") == 4
    bytes_of = {name: row["sizes"]["file_bytes"] for name, row in rows.items()}
    for twin in ("alone", "distilled"):
        assert rows[twin]["kind"] == "twin"
        assert bytes_of[twin] == bytes_of["03-quantize"]
        assert rows[twin]["sizes"]["parameters"] == rows["03-quantize"]["sizes"]["parameters"]
    teacher, half = (
        load_classifier(made / path / "model.onnx").bundle.card.architecture
        for path in ("00-teacher", "twins/half-teacher")
    )
    assert rows["half-teacher"]["kind"] == "twin"
    assert (half["width"], half["heads"]) == (teacher["width"] // 2, teacher["heads"] // 2)
    assert bytes_of["uint4"] < bytes_of["03-quantize"] < bytes_of["float32"]
    assert {"onnxruntime-dynamic", "onnxruntime-static"} < set(rows)
    assert (made / "report" / "report.html").exists()


def test_dynamic_and_static_int8_are_what_they_say(made: Path) -> None:
    operators = {
        name: {n.op_type for n in onnx.load(made / "variants" / name / "model.onnx").graph.node}
        for name in ("onnxruntime-dynamic", "onnxruntime-static")
    }
    assert "MatMulInteger" in operators["onnxruntime-dynamic"]
    assert operators["onnxruntime-static"] & {"QGemm", "QLinearMatMul"}


def test_zeros_are_held_against_a_dense_network_with_as_large_a_zip(
    good: Path, data: Path, tmp_path: Path
) -> None:
    """And the same zeros and values stored in float32 give the same answers."""
    path, out = tmp_path / "recipe.toml", tmp_path / "out"
    path.write_text(PRUNED.format(teacher=good.parent))
    run(load_compression(path), data, out, console=quiet())
    ours, small, alone = (
        sizes(out / name / "model.onnx")
        for name in ("02-prune_magnitude", "twins/small", "twins/alone")
    )
    assert small.parameters < ours.parameters == alone.parameters
    assert small.file_bytes < ours.file_bytes
    assert abs(small.zipped_bytes / ours.zipped_bytes - 1) < 0.05
    final, exact = (
        load_classifier(out / name / "model.onnx").bundle.manifest
        for name in ("02-prune_magnitude", "variants/float32")
    )
    assert (final.precision, exact.precision) == ("float32 and uint4", "float32")
    for one, other in zip(final.golden, exact.golden, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_what_was_finished_is_taken_up_to_the_same_bytes(
    made: Path, data: Path, tmp_path: Path
) -> None:
    """Stop after the second step as a kill would."""
    out = tmp_path / "out"
    shutil.copytree(made, out)
    for path in ("03-quantize", "twins", "variants", "report"):
        shutil.rmtree(out / path)
    (out / "model.onnx").unlink()
    (out / "02-prune_structured" / "model.onnx").write_bytes(b"half a fi")
    before = (out / "01-distill" / "state.pt").stat().st_mtime_ns
    assert run(brief(), data, out, resume=True, console=quiet()) == out / "model.onnx"
    assert sha256(out / "model.onnx") == sha256(made / "model.onnx")
    again = out / "02-prune_structured" / "model.onnx"
    assert sha256(again) == sha256(made / "02-prune_structured" / "model.onnx")
    assert (out / "01-distill" / "state.pt").stat().st_mtime_ns == before


def test_too_many_bytes_are_refused(made: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made, out)
    budget = brief().budget.model_copy(update={"file_bytes": 5000})
    small = brief().model_copy(update={"budget": budget})
    with pytest.raises(GateError, match=r"graph and weights take [\d,]+ bytes, .* allows 5,000"):
        run(small, data, out, resume=True, console=quiet())
    assert not (out / "model.onnx").exists()


def test_a_harmful_step_is_caught(
    good: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One head, latent and unit are left and nothing is retrained: exit code 1 and a table."""
    recipe, out = tmp_path / "harmful.toml", tmp_path / "out"
    recipe.write_text(HARMFUL.format(teacher=good.parent))
    command = ["tinyt2", "compress", str(recipe), "--data", str(data), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    said = capsys.readouterr()
    assert "01-prune_structured against 00-teacher" in said.out
    assert "recall of SNIa" in said.out
    assert "agreement" in said.err
    assert "Nothing is promoted" in " ".join(said.err.split())
    assert (out / "01-prune_structured" / "model.onnx").exists()
    assert not (out / "model.onnx").exists()


def test_a_teacher_of_other_data_is_refused(good: Path, data: Path, tmp_path: Path) -> None:
    """Its training objects could be among those that are tested on."""
    path = tmp_path / "recipe.toml"
    path.write_text(HARMFUL.format(teacher=good.parent).replace("test = 0.3", "test = 0.1"))
    with pytest.raises(ConfigurationError, match=r"trained on other \[data\]"):
        run(load_compression(path), data, tmp_path / "out", console=quiet())


def test_the_golden_outputs_are_those_of_the_stored_weights(made: Path) -> None:
    golden = load_classifier(made / "model.onnx").bundle.manifest.golden
    exact = load_classifier(made / "variants" / "float32" / "model.onnx").bundle.manifest.golden
    for ours, theirs in zip(golden, exact, strict=True):
        assert ours.probabilities != theirs.probabilities
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=0.2)
