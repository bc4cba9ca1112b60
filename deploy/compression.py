"""Read the files that tell how models are compressed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deploy.configuration import file_layers, validated

if TYPE_CHECKING:
    from compress.recipe import CompressionRecipe

__all__ = ["load_compression"]


def load_compression(path: Path) -> CompressionRecipe:
    """Read a recipe in TOML; `ConfigurationError` if it is wrong."""
    from compress.recipe import CompressionRecipe

    return validated(CompressionRecipe, file_layers(CompressionRecipe, path))
