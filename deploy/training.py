"""Read the files that tell how models are trained and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from deploy.configuration import Layer, file_layer, validated
from models.errors import ConfigurationError
from models.recipe import Recipe

if TYPE_CHECKING:
    from models.study import Study

__all__ = ["load_recipe", "load_study"]


def load_recipe(path: Path | None, training: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe in TOML (the defaults without one); `ConfigurationError` if it is wrong.

    ``training`` overrides keys of its section of that name; None leaves a key as it is.
    """
    given = {key: value for key, value in (training or {}).items() if value is not None}
    options = Layer({"training": given}, lambda where: f"--{where[-1]}")
    return validated(Recipe, [options, *([file_layer(Recipe, path)] if path else [])])


class _StudySection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    baseline: str
    positive: str | None = None
    split: Literal["object", "template"] | None = None
    seeds: list[int]
    draws: list[int]
    rows: dict[str, str]


class _StudyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    study: _StudySection


def load_study(path: Path) -> Study:
    """Read a study in TOML; `ConfigurationError` if it, or a recipe that it names, is wrong.

    Paths of recipes are relative to the study. ``split`` overrides that of the recipes.
    """
    from models.study import Study

    told = validated(_StudyFile, [file_layer(_StudyFile, path)]).study
    if told.baseline not in told.rows:
        raise ConfigurationError(
            f"{path}: [study] baseline: {told.baseline!r} is none of the rows "
            f"{', '.join(told.rows)}",
            told.baseline,
        )
    rows = {name: load_recipe(path.parent / file) for name, file in told.rows.items()}
    if told.split is not None:
        rows = {name: _divided(recipe, told.split) for name, recipe in rows.items()}
    return Study(told.title, rows, told.baseline, told.positive, told.seeds, told.draws)


def _divided(recipe: Recipe, split: str) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})})
