"""Set the smallest weights to zero while training, ever more of them (arXiv 1710.01878).

It buys bytes only where zeros are packed: the report shows it beside a dense network.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import parametrize

from compress.retraining import RetrainingRecipe
from compress.rounding import Masked
from compress.steps.step import Context
from compress.student import Student, matrices
from models.errors import ConfigurationError
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["PruneMagnitude", "sparsity_at"]


class PruneMagnitude(RetrainingRecipe):
    """How much is pruned, over how long, and the training after it."""

    kind: Literal["prune_magnitude"] = "prune_magnitude"
    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Part of the weights of every matrix that becomes zero."""
    every: Annotated[int, Field(ge=1)] = 20
    """Steps from one pruning to the next."""
    fine_tune: Annotated[int, Field(ge=0)] = 5
    """Epochs after the last pruning, with the zeros held."""

    @property
    def total_epochs(self) -> int:
        """Return how often the step goes over the curves."""
        return self.epochs + self.fine_tune

    def apply(self, student: Student, context: Context) -> Student:
        """Return the student with zeros in its matrices, which later steps keep."""
        if self.epochs == 0:
            raise ConfigurationError("prune_magnitude prunes while it trains: epochs > 0", 0)
        full = {name: torch.ones_like(p, dtype=torch.bool) for name, p in matrices(student.network)}
        masks: dict[str, Tensor] = dict(full)

        def prune(network: Tiny | T2, step: int, total: int) -> None:
            if step % self.every == 0 or step == total - 1:
                part = sparsity_at((step + 1) / total, self.sparsity)
                for name in masks:
                    masks[name] = _prune(network, name, part)

        pruned = context.retrained(Student(student.network, student.stored, full), self, prune)
        tune = self.model_copy(update={"epochs": self.fine_tune})
        return context.retrained(Student(pruned.network, student.stored, masks), tune)


def sparsity_at(done: float, final: float) -> float:
    """Return the part that is pruned when a part of the training is done: a cubic schedule.

    The last quarter of the training is at the final sparsity.
    """
    return final * (1 - (1 - min(done / 0.75, 1.0)) ** 3)


def _prune(network: Tiny | T2, name: str, part: float) -> Tensor:
    """Mask the smallest weights of a tensor of a network in training; return the mask."""
    owner, _, key = name.rpartition(".")
    constraints = network.get_submodule(owner).parametrizations[key]  # type: ignore[index]
    assert isinstance(constraints, parametrize.ParametrizationList)
    size = constraints.original.detach().abs()
    mask = torch.ones(size.numel(), dtype=torch.bool)
    mask[torch.argsort(size.flatten(), stable=True)[: round(part * size.numel())]] = False
    mask = mask.view(size.shape)
    masked = next(c for c in constraints if isinstance(c, Masked))
    masked.mask.copy_(mask)
    return mask
