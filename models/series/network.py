"""A small convolutional network over series of several bands: M members, one model.

The members are Inception networks (Fawaz et al. 2020, arXiv 1909.04939) with
weights of their own; the answer is the mean of their probabilities (deep
ensembles, arXiv 1612.01474). Unlike the published networks they see how bright
a series is, not only its shape. `n_parameters` counts all members.

Notation: B batch, P bands, T steps, C channels, D width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d

__all__ = ["Inception", "NetworkConfig", "SeriesNet", "channels", "n_parameters"]

_FAINT, _BRIGHT = 10.0, 200.0
"""Fluxes at which the two compressed copies of a series turn from linear to logarithmic."""
_LEAST: Final = 1e-3
_KERNELS: Final = (3, 7, 15)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The form of a `SeriesNet`."""

    members: int = 5
    filters: int = 12
    """Of each kernel size; the width D is four times as much."""
    bottleneck: int = 16
    depth: int = 3
    hidden: int = 48
    dropout: float = 0.3


def channels(flux: Tensor) -> Tensor:
    """Return what the network reads of series [B, P, T]: [B, 5 P + 1, T].

    Fluxes compressed at two scales, relative to the largest of the series and of the band,
    and the logarithms of these two.
    """
    of_band = flux.abs().amax(2, keepdim=True) + _LEAST
    of_series = of_band.amax(1, keepdim=True)
    steps = flux.shape[2]
    return torch.cat(
        [
            torch.asinh(flux / _FAINT) / 3,
            torch.asinh(flux / _BRIGHT),
            flux / of_series,
            flux / of_band,
            (torch.log10(of_band) / 2 - 1).expand(-1, -1, steps),
            (torch.log10(of_series) / 2 - 1).expand(-1, -1, steps),
        ],
        1,
    )


class Inception(nn.Module):
    """Convolutions of several widths side by side, [B, D, T] -> [B, D, T]."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        narrow, filters = config.bottleneck, config.filters
        self.narrow = nn.Conv1d(width, narrow, 1, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(narrow, filters, k, padding=k // 2, bias=False) for k in _KERNELS
        )
        self.pooled = nn.Conv1d(width, filters, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the series."""
        narrow = self.narrow(x)
        parts = [convolution(narrow) for convolution in self.convolutions]
        parts.append(self.pooled(max_pool1d(x, 3, 1, 1)))
        return torch.relu(self.norm(torch.cat(parts, 1)))


class _Member(nn.Module):
    def __init__(self, bands: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.filters * (len(_KERNELS) + 1)
        self.enter = nn.Conv1d(5 * bands + 1, width, 1)
        self.blocks = nn.ModuleList(Inception(width, config) for _ in range(config.depth))
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(2 * width, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, n_classes),
        )

    def forward(self, read: Tensor) -> Tensor:
        """Return logits [B, K] of `channels`."""
        x = self.enter(read)
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.head(torch.cat([x.mean(2), x.amax(2)], 1))
        return logits


class SeriesNet(nn.Module):
    """Map series of equal length to class probabilities."""

    def __init__(self, bands: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            _Member(bands, n_classes, config) for _ in range(config.members)
        )

    def forward(self, flux: Tensor) -> Tensor:
        """Return the mean probabilities of the members, [B, P, T] -> [B, K]."""
        read = channels(flux)
        return torch.stack([member(read).softmax(1) for member in self.members]).mean(0)


def n_parameters(network: nn.Module) -> int:
    """Count the numbers that are trained, of all members together."""
    return sum(parameter.numel() for parameter in network.parameters())
