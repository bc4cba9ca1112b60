"""Take whole heads, latents, feed-forward units and blocks out of a network: smaller tensors.

What matters least to the loss goes (`compress.importance`), in rounds with training between,
because importance changes with what is gone (arXiv 2407.14679). This is the step that buys
latency.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from compress.importance import Importance, importance
from compress.retraining import RetrainingRecipe, loss_of
from compress.slices import Kept, sliced
from compress.steps.step import Context
from compress.student import Student
from models.errors import ConfigurationError
from models.tiny import Tiny

__all__ = ["PruneStructured"]

Size = Annotated[int, Field(ge=1)] | None


class PruneStructured(RetrainingRecipe):
    """What stays, and the training that heals."""

    kind: Literal["prune_structured"] = "prune_structured"
    latents: Size = None
    """How many stay; all unless given, as below."""
    heads: Size = None
    """Of each block, on average: blocks that need them more keep more."""
    feed_forward: Size = None
    """Units of each block, on average."""
    latent_blocks: Annotated[int, Field(ge=0)] | None = None
    rounds: Annotated[int, Field(ge=1)] = 1
    between: Annotated[int, Field(ge=0)] = 2
    """Epochs after each round but the last, which is followed by ``epochs``."""
    per_class: Annotated[int, Field(ge=1)] = 500
    """Alerts of each class that importance is measured on."""

    @property
    def total_epochs(self) -> int:
        """Return how often the step goes over the curves."""
        return self.epochs + (self.rounds - 1) * self.between

    def apply(self, student: Student, context: Context) -> Student:
        """Return the student without its least important parts."""
        if not isinstance(student.network, Tiny):
            raise ConfigurationError("prune_structured: parts can be taken out of tiny only")
        if student.stored or student.masks:
            raise ConfigurationError("prune_structured comes before steps that round or mask")
        network = student.network
        goals = self._goals(network)
        for done in range(1, self.rounds + 1):
            loss = loss_of(self, network, context.transfer, context.classes)
            found = importance(network, context.transfer, loss, self.per_class, context.seed)
            network = sliced(network, _kept(network, found, goals, self.rounds - done))
            last = done == self.rounds
            how = self if last else self.model_copy(update={"epochs": self.between})
            trained = context.retrained(Student(network), how).network
            assert isinstance(trained, Tiny)
            network = trained
        return Student(network)

    def _goals(self, network: Tiny) -> dict[str, int]:
        """Return how many of each kind stay, in all blocks together."""
        blocks, now = network.config.blocks, network.config.latents
        n = len(blocks) if self.latent_blocks is None else 1 + self.latent_blocks
        heads = None if self.heads is None else self.heads * n
        units = None if self.feed_forward is None else self.feed_forward * n
        sizes = {
            "latents": (self.latents, now),
            "heads": (heads, sum(b.heads for b in blocks)),
            "feed_forward": (units, sum(b.feed_forward for b in blocks)),
            "latent_blocks": (self.latent_blocks, len(blocks) - 1),
        }
        for name, (goal, size) in sizes.items():
            if goal is not None and goal > size:
                raise ConfigurationError(
                    f"prune_structured {name}: {goal} cannot stay of {size}", goal
                )
        return {name: size if goal is None else goal for name, (goal, size) in sizes.items()}


def _kept(network: Tiny, found: Importance, goals: dict[str, int], left: int) -> Kept:
    """Return what stays after a round when ``left`` more will follow: equal steps to the goals."""

    def size(now: int, goal: int) -> int:
        return goal + (now - goal) * left // (left + 1)

    blocks = network.config.blocks
    n_blocks = size(len(blocks) - 1, goals["latent_blocks"])
    stay = _best(torch.tensor(found.blocks), n_blocks) if n_blocks else []
    rows = [0, *(1 + b for b in stay)]
    heads = _over_blocks(found.heads, rows, size(sum(b.heads for b in blocks), goals["heads"]))
    units = sum(b.feed_forward for b in blocks)
    return Kept(
        _best(found.latents, size(network.config.latents, goals["latents"])),
        heads,
        _over_blocks(found.units, rows, size(units, goals["feed_forward"])),
        stay,
    )


def _best(values: Tensor, n: int) -> list[int]:
    """Return the rows of the n largest values, in order."""
    return sorted(torch.argsort(values, descending=True, stable=True)[:n].tolist())


def _over_blocks(values: list[Tensor], rows: list[int], n: int) -> list[list[int]]:
    """Return the rows of the n largest values by block: at least one of each block that stays."""
    first = {block: int(values[block].argmax()) for block in rows}
    ranked = sorted(
        (
            (-float(value), block, row)
            for block in rows
            for row, value in enumerate(values[block])
            if row != first[block]
        ),
    )
    kept: list[list[int]] = [[] for _ in values]
    for block, row in [*first.items(), *((b, r) for _, b, r in ranked[: n - len(first)])]:
        kept[block].append(row)
    return [sorted(some) for some in kept]
