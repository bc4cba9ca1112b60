"""Read the recipe of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.configuration import Layer, file_layer, validated
from models.recipe import Recipe

__all__ = ["load_recipe"]


def load_recipe(path: Path | None, training: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe in TOML (the defaults without one); `ConfigurationError` if it is wrong.

    ``training`` overrides keys of its section of that name; None leaves a key as it is.
    """
    given = {key: value for key, value in (training or {}).items() if value is not None}
    options = Layer({"training": given}, lambda where: f"--{where[-1]}")
    return validated(Recipe, [options, *([file_layer(Recipe, path)] if path else [])])
