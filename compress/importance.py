"""How much the loss hangs on each head, unit, latent and block of a network.

A gate of 1 before each part; the loss changes to first order by the gate's gradient when the
part is taken away (Taylor criterion, arXiv 1906.10771). That gradient is the sum of weight
times gradient over the weights that read the part. Squares are averaged over batches of a set
in which all classes are alike, so that parts which only a rare class needs are kept
(arXiv 1909.10364).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from compress.retraining import Loss
from compress.transfer import TransferSet
from models.tiny import Block, Tiny

__all__ = ["Importance", "importance"]

_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Importance:
    """Larger is more important; parts of one kind compare over all blocks."""

    latents: Tensor
    """[N]"""
    heads: list[Tensor]
    """[H] of each block, the reading one first."""
    units: list[Tensor]
    """[U] of each block."""
    blocks: list[float]
    """Of each latent block as a whole."""


def importance(
    network: Tiny, transfer: TransferSet, loss: Loss, per_class: int, seed: int
) -> Importance:
    """Return the importance of the parts of a network, on up to so many alerts per class."""
    rows = transfer.balanced(per_class, seed)
    rng = np.random.default_rng([seed, 6])
    network.eval()
    # The rows are balanced already: only by how much rare classes are raised is left to weigh.
    loss = replace(loss, weight=loss.weight / transfer.class_weight({}))
    found: list[list[Tensor]] = []
    for lesson in transfer.lessons(rng.permutation(rows), _BATCH, rng):
        network.zero_grad()
        loss(network, lesson).backward()  # type: ignore[no-untyped-call]
        found.append([gate.square() for gate in _gates(network)])
    network.zero_grad()
    mean = [torch.stack(gates).mean(0) for gates in zip(*found, strict=True)]
    latents, blocks, *parts = mean
    return Importance(latents, parts[0::2], parts[1::2], blocks.tolist())


def _gates(network: Tiny) -> list[Tensor]:
    """Return the gradients of all gates: latents, latent blocks, heads and units by block."""
    parts = [_block_gates(b) for b in (network.read, *network.blocks) if isinstance(b, Block)]
    # A block taken away takes its heads and units with it, and their biases, which are small.
    blocks = torch.stack(
        [heads.sum() + units.sum() for heads, units in parts[1:]] or [torch.zeros(())]
    )
    latents = _columns(network.head.weight, network.config.latents)
    return [latents, blocks, *(gate for pair in parts for gate in pair)]


def _block_gates(block: Block) -> tuple[Tensor, Tensor]:
    last = block.feed_forward[-1]
    assert isinstance(last, torch.nn.Linear)
    return _columns(block.out.weight, block.heads), _columns(last.weight, last.in_features)


def _columns(weight: Tensor, n: int) -> Tensor:
    """Return sums of weight times gradient over n equal groups of columns, [n]."""
    assert weight.grad is not None
    return (weight.detach() * weight.grad).sum(0).view(n, -1).sum(1)
