"""Take parts out of a network: what is left has smaller tensors, not zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.tiny import Block, Tiny

__all__ = ["Kept", "sliced"]

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of what stays, in order."""

    latents: Sequence[int]
    heads: Sequence[Sequence[int]]
    """Of each block, the reading one first; those of blocks that go are not read."""
    units: Sequence[Sequence[int]]
    blocks: Sequence[int]
    """Of the latent blocks."""


def sliced(network: Tiny, kept: Kept) -> Tiny:
    """Return a new network that has only the parts that are kept, with their weights."""
    config = network.config
    rows = [0, *(1 + b for b in kept.blocks)]
    smaller = Tiny(
        replace(
            config,
            latents=len(kept.latents),
            heads=tuple(len(kept.heads[b]) for b in rows),
            head_size=config.blocks[0].head_size,
            feed_forward=tuple(len(kept.units[b]) for b in rows),
            latent_blocks=len(kept.blocks),
        )
    )
    latents = list(kept.latents)
    before = dict(network.state_dict())
    head = before["head.weight"].view(-1, config.latents, config.width)[:, latents]
    before["head.weight"] = head.flatten(1)
    before["latents"] = before["latents"][latents]
    shared = {k: v for k, v in before.items() if not k.startswith(("read.", "blocks."))}
    smaller.load_state_dict(shared, strict=False)
    olds, news = _blocks(network), _blocks(smaller)
    for block, new in zip(rows, news, strict=True):
        _copy(olds[block], new, kept.heads[block], kept.units[block])
    return smaller.eval()


def _blocks(network: Tiny) -> list[Block]:
    return [block for block in (network.read, *network.blocks) if isinstance(block, Block)]


def _copy(old: Block, new: Block, heads: Sequence[int], units: Sequence[int]) -> None:
    size = old.query.out_features // old.heads
    inner = torch.tensor([h * size + i for h in heads for i in range(size)])
    some = torch.tensor(list(units))
    state = old.state_dict()
    rows = {"query": inner, "key": inner, "value": inner, "feed_forward.1": some}
    columns = {"out": inner, "feed_forward.3": some}
    for name, tensor in state.items():
        module, _, key = name.rpartition(".")
        state[name] = _take(tensor, rows.get(module), columns.get(module), key)
    new.load_state_dict(state)


def _take(tensor: Tensor, rows: Tensor | None, columns: Tensor | None, key: str) -> Tensor:
    if rows is not None:
        return tensor[rows]
    if columns is not None and key == "weight":
        return tensor[:, columns]
    return tensor
