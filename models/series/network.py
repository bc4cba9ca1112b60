"""A small network over series and their summary features: M members, one set of parameters.

The members are perceptrons of two hidden layers over the same features, with
weights of their own, computed together; the answer is the mean of their
probabilities (deep ensembles, arXiv 1612.01474). Together they are one model,
and `n_parameters` counts all of them.

Notation: B batch, M members, F features, D and E hidden widths, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, silu

__all__ = ["NetworkConfig", "SeriesNet", "n_parameters"]

_CLIP = 4.0
"""Standard deviations beyond which a feature says nothing more."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The form of a `SeriesNet`."""

    members: int = 6
    width: int = 24
    hidden: int = 24
    feature_dropout: float = 0.1
    dropout: float = 0.25


class SeriesNet(nn.Module):
    """Log-probabilities of classes from summary features."""

    def __init__(self, n_features: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (n_features, config.width, config.hidden, n_classes)
        self.weights = nn.ParameterList(
            _initial(config.members, n_in, n_out) for n_in, n_out in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(config.members, 1, d) for d in sizes[1:])
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    mean: Tensor
    scale: Tensor

    def standardise_by(self, features: Tensor) -> None:
        """Take the mean and scatter of features [n, F] as those of every input."""
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(features.std(dim=0) + 1e-3)

    def members(self, features: Tensor) -> Tensor:
        """Return log-probabilities [M, B, K] of every member for features [B, F]."""
        x = ((features - self.mean) / self.scale).clamp(-_CLIP, _CLIP)
        x = dropout(x, self.config.feature_dropout, self.training)  # [B, F]
        x = x.expand(self.config.members, -1, -1)  # [M, B, F]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = silu(torch.baddbmm(bias, x, weight))  # [M, B, D]
            x = dropout(x, self.config.dropout, self.training)
        return torch.baddbmm(self.biases[-1], x, self.weights[-1]).log_softmax(dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities [B, K] for features [B, F]: the mean of the members'."""
        return self.members(features).logsumexp(dim=0) - math.log(self.config.members)


def n_parameters(network: nn.Module) -> int:
    """Return how many numbers training fits."""
    return sum(parameter.numel() for parameter in network.parameters())


def _initial(members: int, n_in: int, n_out: int) -> Tensor:
    return torch.randn(members, n_in, n_out) * math.sqrt(1.5 / n_in)
