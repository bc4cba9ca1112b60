"""What a compression is told: the sections of its TOML file.

``[model] [data] [augmentation]`` are those of a training recipe, ``[network] [training]``
those of the teacher; every default stands here and in `models.recipe`, and those of a step in
`compress.steps`. `deploy.compression` reads the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from compress.gates import GateRecipe
from compress.steps import AnyStep
from models.recipe import Recipe, Section

__all__ = ["BudgetRecipe", "CompressionRecipe", "ReportRecipe", "TeacherRecipe", "TransferRecipe"]


class TeacherRecipe(Section):
    """Where the teacher comes from."""

    run: Path | None = None
    """Folder of a finished `tinyt2 train` on the same [data]: [network] and [training] are then
    that run's. Without it the teacher is trained first."""


class TransferRecipe(Section):
    """What all students are trained on."""

    views: Annotated[int, Field(ge=1)] = 4
    """Random alerts per curve that is trained on."""
    seed: int = 0
    """Of views, weights and batches of everything after the teacher."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Of torch. More change the order of sums, and with it the last bits."""


class BudgetRecipe(Section):
    """What the result may cost."""

    file_bytes: Annotated[int, Field(ge=1)] | None = None
    """Graph and weights in the last bundle's file, without manifest."""


class ReportRecipe(Section):
    """What is measured when the chain is done."""

    twins: bool = True
    """Dense networks of the result's shape and bytes, trained alone and distilled alone; with
    prune_magnitude also a smaller one whose zip is as large; the teacher at half its width."""
    variants: list[str] = Field(default_factory=list)
    """The result stored otherwise: float32, int8, uint8, uint4, and as rows only
    onnxruntime-dynamic and onnxruntime-static."""
    bootstrap: Annotated[int, Field(ge=0)] = 500
    """Resamples per interval."""
    rounds: Annotated[int, Field(ge=1)] = 15
    """How often each time is taken."""


class CompressionRecipe(Recipe):
    """A chain from a teacher to a deployed model."""

    teacher: TeacherRecipe = TeacherRecipe()
    transfer: TransferRecipe = TransferRecipe()
    steps: Annotated[list[AnyStep], Field(min_length=1)]
    budget: BudgetRecipe = BudgetRecipe()
    gates: GateRecipe = GateRecipe()
    report: ReportRecipe = ReportRecipe()
