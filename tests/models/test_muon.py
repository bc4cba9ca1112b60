"""Muon makes the steps of matrices orthogonal, and follows torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.muon import Muon, orthogonal
from models.networks import build
from models.optimiser import Averaged
from models.recipe import NetworkRecipe, OptimiserRecipe


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(32, 32), (12, 48), (96, 32)])
def test_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    matrix = noise(*shape)
    found = orthogonal(matrix)
    assert found.shape == matrix.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    nearest = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.cosine_similarity(found.ravel(), (nearest.U @ nearest.Vh).ravel(), 0) > 0.95


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert not orthogonal(torch.zeros(4, 6)).any()


def test_it_steps_as_torch_does_but_for_the_precision() -> None:
    """`torch.optim.Muon` computes in bfloat16."""
    ours, theirs = (nn.Parameter(noise(24, 40)) for _ in range(2))
    before = ours.detach().clone()
    optimisers: list[Any] = [
        Muon([ours], lr=0.01, weight_decay=0.05),
        torch.optim.Muon(
            [theirs], lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw", momentum=0.95
        ),
    ]
    for step in range(5):
        ours.grad = theirs.grad = noise(24, 40, seed=step + 1)
        for optimiser in optimisers:
            optimiser.step()
    moved = (ours.detach() - before).norm()
    assert moved > 0.1
    assert (ours.detach() - theirs.detach()).norm() < 0.02 * moved


def test_only_the_matrices_between_layers_are_given_to_it() -> None:
    network = build(NetworkRecipe(width=8, latents=2, heads=2), 3, rejects=False, seed=0)
    adamw, muon = Averaged(network, OptimiserRecipe(muon=True), steps=1).optimisers
    sizes = {id(p): p.shape for group in muon.param_groups for p in group["params"]}
    assert sizes
    assert all(len(shape) == 2 for shape in sizes.values())
    assert not {id(network.head.weight), id(network.latents)} & set(sizes)
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert not rest & set(sizes)
    assert rest | set(sizes) == {id(p) for p in network.parameters()}
