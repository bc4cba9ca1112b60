"""``tinyt2 train`` and then ``tinyt2 replay`` with what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from models.bundle import load_bundle
from tests.models.supernovae import write_spcc

RECIPE = Path(__file__).parents[2] / "models" / "recipes" / "spcc.toml"


def _tinyt2(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_a_model_that_was_just_trained_serves(tmp_path: Path, alerts_dir: Path) -> None:
    (tmp_path / "data").mkdir()
    data = write_spcc(tmp_path / "data", per_template=30)
    said = _tinyt2("train", RECIPE, "--data", data, "--out", tmp_path / "run", "--epochs", "2")
    bundle = load_bundle(tmp_path / "run" / "model.onnx")
    assert bundle.sha256 in said
    assert "last detection" in said
    assert "Trained only on simulated DES supernovae" in said

    settings = tmp_path / "tinyt2.toml"
    settings.write_text(f'[model]\npath = "{bundle.path}"\n')
    out = tmp_path / "out.parquet"
    said = _tinyt2("replay", alerts_dir / "ztf", "--out", out, "--config", settings)
    assert bundle.sha256[:12] in said
    assert set(pq.read_table(out)["model_sha256"].to_pylist()) == {bundle.sha256}
