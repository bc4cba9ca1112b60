"""How weights are rounded to what a file stores of them, while they are trained.

The rounded weights answer; the gradient goes to the ones behind them as if nothing had
been rounded (straight-through, arXiv 1308.3432). Rounding what is rounded changes no bit:
so `compress.stored` recovers the codes from the weights alone.

==============  ================================================================
``int8 int4``   q * scale, one scale per row (output channel)
``uint8 uint4``  an entry of the tensor's codebook (k-means; the entries are trained too)
``float16``     half precision
==============  ================================================================

Scales and entries are numbers of half precision, so that q * scale is exact.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

__all__ = ["Codebook", "Half", "Masked", "Scaled", "Scheme", "entries", "rounding", "scales"]

Scheme = Literal["float32", "float16", "int8", "int4", "uint8", "uint4"]

_BITS: Final = {"int8": 8, "int4": 4, "uint8": 8, "uint4": 4}
_LEAST_SCALE: Final = 2.0**-14
"""The smallest normal number of half precision."""
_WEIGHTS_PER_ENTRY: Final = 8
"""A codebook has at most an entry for so many weights: it is stored too."""


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _straight(weight: Tensor, rounded: Tensor) -> Tensor:
    through: Tensor = _Straight.apply(weight, rounded)  # type: ignore[no-untyped-call]
    return through


def largest_code(bits: int) -> int:
    """Return the largest code; the smallest is its negative."""
    return (1 << bits - 1) - 1


def scales(weight: Tensor, bits: int) -> Tensor:
    """Return the scale of each row of weights [R, ...]: [R]; of a vector: one, []."""
    largest = weight.abs().flatten(1).amax(1) if weight.dim() > 1 else weight.abs().amax()
    wanted = (largest / largest_code(bits)).clamp(min=_LEAST_SCALE)
    half = wanted.half()
    # Up to the next half where that is below: the largest weight keeps the largest code.
    up = (half.view(torch.int16) + 1).view(torch.float16)
    return torch.where(half.float() < wanted, up, half).float()


class Scaled(nn.Module):
    """Round to whole multiples of a scale per row."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self._bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weights, of the same shape."""
        raw, most = weight.detach(), largest_code(self._bits)
        scale = scales(raw, self._bits).view(-1, *[1] * (raw.dim() - 1))
        scale = scale if raw.dim() > 1 else scale.squeeze()
        return _straight(weight, torch.round(raw / scale).clamp(-most, most) * scale)


class Half(nn.Module):
    """Round to half precision."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weights, of the same shape."""
        return _straight(weight, weight.detach().half().float())


class Codebook(nn.Module):
    """Round to the nearest entry of a codebook that is trained with the weights."""

    def __init__(self, weight: Tensor, n: int) -> None:
        super().__init__()
        values = weight.detach().numpy().astype(np.float64)
        found, counts = np.unique(values, return_counts=True)
        if len(found) > n:
            start = np.quantile(found, (np.arange(n) + 0.5) / n)[:, None]
            means = KMeans(n, init=start, n_init=1).fit(found[:, None], sample_weight=counts)
            found = means.cluster_centers_.ravel()
        self.entries = nn.Parameter(torch.from_numpy(np.sort(found)).float())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the nearest entries; their gradient is the sum over their weights."""
        book = _straight(self.entries, self.entries.detach().half().float())
        order = torch.argsort(book.detach())
        book = book[order]
        middle = (book[1:] + book[:-1]).detach() / 2
        codes = torch.bucketize(weight.detach().contiguous(), middle)
        # Both learn: the entry from all its weights, each weight for its choice of entry.
        return book[codes] + (weight - weight.detach())


class Masked(nn.Module):
    """Keep weights at zero that were pruned."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights with zeros where the mask is False."""
        return weight * self.mask


def entries(n_weights: int, bits: int) -> int:
    """Return how many entries a codebook for so many weights may have."""
    return max(2, min(1 << bits, n_weights // _WEIGHTS_PER_ENTRY))


def rounding(scheme: Scheme, weight: Tensor, masked: bool = False) -> nn.Module | None:
    """Return what rounds a tensor to a scheme; None for float32.

    A codebook starts from the tensor's k-means. With ``masked`` one entry is left for zero.
    """
    if scheme == "float32":
        return None
    if scheme == "float16":
        return Half()
    bits = _BITS[scheme]
    if scheme.startswith("int"):
        return Scaled(bits)
    return Codebook(weight, entries(weight.numel(), bits) - masked)
