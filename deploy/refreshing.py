"""Read the file that tells how the deployed model is renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from compress.refresh import RefreshRecipe
from deploy.compression import load_compression
from deploy.configuration import file_layer, validated
from deploy.training import load_recipe
from models.errors import ConfigurationError
from models.recipe import Recipe

__all__ = ["load_refresh"]

_PATHS: Final = ("start", "data", "store", "work")


def load_refresh(path: Path) -> tuple[RefreshRecipe, Recipe]:
    """Read a job in TOML and the recipe that it names; `ConfigurationError` if one is wrong.

    Paths in the file are relative to it.
    """
    job = validated(RefreshRecipe, [file_layer(RefreshRecipe, path)])
    told = job.refresh
    if (told.compress is None) == (told.train is None):
        raise ConfigurationError(
            f"{path}: [refresh] name a recipe: either compress (a chain) or train (no chain)", path
        )
    folders = {name: path.parent / getattr(told, name) for name in _PATHS}
    job = job.model_copy(update={"refresh": told.model_copy(update=folders)})
    if told.compress is not None:
        return job, load_compression(path.parent / told.compress)
    assert told.train is not None
    return job, load_recipe(path.parent / told.train)
