"""Studies train what is not there, compare on the same objects, and go on where they stopped."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from models.recipe import DataRecipe, NetworkRecipe, Recipe, TrainingRecipe
from models.study import RESULT_NAME, Study, run_study
from tests.models.supernovae import write_spcc

SMALL = Recipe(
    data=DataRecipe(split="template", validation=0.2, test=0.2),
    network=NetworkRecipe(width=8, latents=2, heads=2),
    training=TrainingRecipe(epochs=3, batch=32, lr=1e-2, averaging=0.9),
)
T2 = SMALL.model_copy(
    update={
        "network": NetworkRecipe(kind="t2", bands=["des:g", "des:r", "des:i", "des:z"]),
        "training": TrainingRecipe(epochs=1, batch=32),
    }
)
STUDY = Study("trial", {"t2": T2, "tiny": SMALL}, "t2", "SNIa", seeds=[0], draws=[0])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spcc(tmp_path_factory.mktemp("spcc"), per_template=8)


def test_rows_are_compared_and_kept(data: Path, tmp_path: Path) -> None:
    text = io.StringIO()
    result = run_study(STUDY, data, tmp_path, Console(file=text, width=200))
    assert json.loads((tmp_path / RESULT_NAME).read_text()) == json.loads(json.dumps(result))
    assert {"templates", "objects", "templates, first 5 observations"} <= set(result["parts"])
    rows = result["parts"]["objects"]
    assert rows["t2"]["against"]["log_loss_ratio"]["value"] == 1.0
    mean = rows["tiny"]["figures"]["log_loss"]["value"]
    assert rows["tiny"]["log_loss_by_model"] == [pytest.approx(mean, abs=1e-4)]
    base = rows["t2"]["figures"]["log_loss"]["value"]
    assert rows["tiny"]["against"]["log_loss_ratio"]["value"] == pytest.approx(
        mean / base, abs=1e-4
    )
    assert "AUC SNIa" in text.getvalue()

    made = sorted(tmp_path.glob("*/*/model.onnx"))
    assert len(made) == 2
    times = [path.stat().st_mtime_ns for path in made]
    again = run_study(STUDY, data, tmp_path, Console(file=io.StringIO()))
    assert [path.stat().st_mtime_ns for path in made] == times
    assert again == result
