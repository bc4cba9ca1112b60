"""Read the files that tell how models are trained and compared; run the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.configuration import Layer, file_layer, file_layers, validated
from models.errors import ConfigurationError
from models.recipe import Recipe

if TYPE_CHECKING:
    from models.study import Study

__all__ = ["load_recipe", "load_study", "simulate_curves"]


def load_recipe(path: Path | None, training: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe in TOML (the defaults without one); `ConfigurationError` if it is wrong.

    ``training`` overrides keys of its section of that name; None leaves a key as it is.
    """
    given = {key: value for key, value in (training or {}).items() if value is not None}
    options = Layer({"training": given}, lambda where: f"--{where[-1]}")
    return validated(Recipe, [options, *(file_layers(Recipe, path) if path else [])])


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


def simulate_curves(
    inputs: Path,
    out: Path,
    survey: str,
    per_class: int,
    classes: Sequence[str] | None,
    part: str,
    seed: int,
    plots: Path | None,
) -> None:
    """Simulate ``per_class`` objects of each class and write them, and pictures if asked for."""
    from models.datasets.parquet import write_parquet
    from models.simulate import populations, simulate
    from models.simulate.plots import plot_classes

    known = populations(inputs)
    counts = dict.fromkeys(classes or known, per_class)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("simulating", total=sum(counts.values()))
        done: dict[str, int] = {}

        def report(name: str, made: int, wanted: int) -> None:
            done[name] = made
            progress.update(task, description=f"simulating {name}", completed=sum(done.values()))

        data = simulate(counts, survey, seed, inputs, classes=known, part=part, progress=report)
    write_parquet(data, out)
    if plots is not None:
        plot_classes(data, plots)
    Console().print(f"{len(data):,} curves written to {out}", soft_wrap=True)


def _divided(recipe: Recipe, split: str) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})})
