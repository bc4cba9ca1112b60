"""One cycle of AdamW, or with Muon for matrices, over batches of curves of about one length.

The model is the average of the weights on the way. Training and compression optimise with the
same steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.muon import Muon
from models.recipe import OptimiserRecipe

__all__ = ["SORTED_BATCHES", "Averaged", "batches_of_a_length", "torch_threads"]

SORTED_BATCHES: Final = 16
"""Batches are made of curves of about one length, of so many batches at a time."""

Network = TypeVar("Network", bound=nn.Module)


class Averaged(Generic[Network]):
    """A network on its way through one learning-rate cycle, and its moving average.

    ``beside`` learns with it and is no part of it.
    """

    def __init__(
        self,
        model: Network,
        how: OptimiserRecipe,
        steps: int,
        beside: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.beside = nn.Module() if beside is None else beside
        self.average = copy.deepcopy(model)
        self._how, self._total = how, how.epochs * steps
        matrices = _hidden_matrices(model) if how.muon else []
        rest = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [*rest, *self.beside.parameters()],
                how.lr,
                weight_decay=how.weight_decay,
                fused=True,
            )
        ]
        if matrices:
            self.optimisers.append(Muon(matrices, how.lr, how.weight_decay))

    def rate(self, step: int) -> float:
        """Return the one-cycle rate (arXiv 1708.07120) at a step, counted from the first."""
        how, done = self._how, step / self._total
        if done < how.warm_up:
            return how.lr * _cosine(1 / 25, 1.0, done / how.warm_up)
        return how.lr * _cosine(1.0, 1e-4, (done - how.warm_up) / (1 - how.warm_up))

    def step(self, step: int, loss: Tensor) -> float:
        """Follow the gradient of a loss and return the loss."""
        rate = self.rate(step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        # The average forgets the random start quickly.
        weight = 1 - min(self._how.averaging, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, weight)
        return loss.item()

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes up."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "beside": self.beside.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.beside.load_state_dict(state["beside"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def _hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights between layers: Muon is not meant for vectors and the last layer."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and not name.startswith(("latents", "head."))
    ]


def batches_of_a_length(
    lengths: npt.NDArray[np.integer], batch: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of ``lengths`` in batches of about one length, in random order."""
    by_length = np.argsort(lengths + rng.uniform(0, 8, len(lengths)))
    batches = np.split(by_length, range(batch, len(lengths), batch))
    for i in rng.permutation(len(batches)):
        yield batches[i]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
