"""A small network over series of several bands: M members, one model.

Members read the summary features of `models.series.summaries`, and some of them
the series too, by an Inception network (Fawaz et al. 2020, arXiv 1909.04939).
The answer is the mean of their probabilities (deep ensembles, arXiv 1612.01474),
sharpened by a temperature. Unlike the published networks they see how bright
a series is, not only its shape. `n_parameters` counts all members.

Notation: B batch, P bands, T steps, C channels, F summary features, D width,
K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d

__all__ = ["Inception", "NetworkConfig", "SeriesNet", "channels", "n_parameters"]

_FAINT, _BRIGHT = 10.0, 200.0
"""Fluxes at which the two compressed copies of a series turn from linear to logarithmic."""
_LEAST: Final = 1e-3
_KERNELS: Final = (3, 7, 15)
_LIMIT: Final = 5.0
"""Standard deviations at which summary features are clipped."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The form of a `SeriesNet`."""

    members: int = 2
    """That read series and summaries."""
    summary_members: int = 2
    """That read summaries alone."""
    filters: int = 8
    """Of each kernel size; the width D is four times as much."""
    bottleneck: int = 12
    depth: int = 3
    summary: int = 32
    """Units that read the summary features, twice as many in members that read nothing else."""
    hidden: int = 48
    dropout: float = 0.3
    temperature: float = 0.86
    """Of the mean probabilities: members trained on mixed series are too modest. Found out of fold,
    on three of five folds of the train part, with a member of each kind."""


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


class _SummaryMember(nn.Module):
    def __init__(self, summaries: int, n_classes: int, units: int, config: NetworkConfig) -> None:
        super().__init__()
        self.narrow = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(summaries, units), nn.ReLU()
        )
        self.head = _head(units, n_classes, config)

    def forward(self, read: Tensor, summary: Tensor) -> Tensor:
        """Return logits [B, K] of standardised summaries [B, F]."""
        logits: Tensor = self.head(self.narrow(summary))
        return logits


class _Member(nn.Module):
    def __init__(self, bands: int, summaries: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.filters * (len(_KERNELS) + 1)
        self.enter = nn.Conv1d(5 * bands + 1, width, 1)
        self.blocks = nn.ModuleList(Inception(width, config) for _ in range(config.depth))
        self.narrow = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(summaries, config.summary), nn.ReLU()
        )
        self.head = _head(2 * width + config.summary, n_classes, config)

    def forward(self, read: Tensor, summary: Tensor) -> Tensor:
        """Return logits [B, K] of `channels` and of standardised summaries [B, F]."""
        x = self.enter(read)
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.head(torch.cat([x.mean(2), x.amax(2), self.narrow(summary)], 1))
        return logits


class SeriesNet(nn.Module):
    """Map series of equal length, and their summaries, to class probabilities."""

    centre: Tensor
    gain: Tensor

    def __init__(self, bands: int, summaries: int, n_classes: int, config: NetworkConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.register_buffer("centre", torch.zeros(summaries))
        self.register_buffer("gain", torch.ones(summaries))
        self.members = nn.ModuleList(
            _Member(bands, summaries, n_classes, config) for _ in range(config.members)
        )
        self.members.extend(
            _SummaryMember(summaries, n_classes, 2 * config.summary, config)
            for _ in range(config.summary_members)
        )

    def standardise(self, summary: npt.NDArray[np.float32]) -> None:
        """Fit the constants that scale summary features to those of the training part, [n, F]."""
        self.centre.copy_(torch.from_numpy(summary.mean(0)))
        self.gain.copy_(torch.from_numpy(1 / (summary.std(0) + _LEAST)))

    def standardised(self, summary: Tensor) -> Tensor:
        """Return what members read of summaries [B, F]."""
        return ((summary - self.centre) * self.gain).clamp(-_LIMIT, _LIMIT)

    def forward(self, flux: Tensor, summary: Tensor) -> Tensor:
        """Return probabilities [B, K] of series [B, P, T] and their summaries [B, F]."""
        read, summary = channels(flux), self.standardised(summary)
        mean = torch.stack([m(read, summary).softmax(1) for m in self.members]).mean(0)
        return torch.softmax(mean.log() / self.temperature, 1)


def n_parameters(network: nn.Module) -> int:
    """Count the numbers that are trained, of all members together."""
    return sum(parameter.numel() for parameter in network.parameters())


def _head(units: int, n_classes: int, config: NetworkConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(units, config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, n_classes),
    )
