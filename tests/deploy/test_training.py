"""Recipes and studies in TOML: those shipped are sound, wrong ones say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.training import load_recipe, load_study
from models.errors import ConfigurationError

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("path", sorted((MODELS / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_a_shipped_recipe_names_its_command(path: Path) -> None:
    load_recipe(path)
    assert f"tinyt2 train models/recipes/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", sorted((MODELS / "studies").glob("*.toml")), ids=lambda p: p.stem)
def test_a_shipped_study_names_its_command(path: Path) -> None:
    study = load_study(path)
    assert study.baseline in study.rows
    assert f"tinyt2 study models/studies/{path.name}" in path.read_text()


def test_options_override_the_recipe() -> None:
    recipe = load_recipe(MODELS / "recipes" / "spcc.toml", {"seed": 7, "epochs": None})
    assert recipe.training.seed == 7
    assert recipe.training.epochs == 60


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[training]\nepoch = 3\n")
    with pytest.raises(ConfigurationError, match=r"\[training\] epoch: .*did you mean epochs"):
        load_recipe(path)
    with pytest.raises(ConfigurationError, match="--epochs"):
        load_recipe(None, {"epochs": 0})


def test_a_study_needs_its_baseline_among_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    path = tmp_path / "study.toml"
    path.write_text(
        '[study]\ntitle = "x"\nbaseline = "b"\nseeds = [0]\ndraws = [0]\nrows = {a = "a.toml"}\n'
    )
    with pytest.raises(ConfigurationError, match="baseline: 'b' is none of the rows a"):
        load_study(path)
