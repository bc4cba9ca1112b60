"""The t2 network of "The Tiny Time-series Transformer", the faithful baseline.

Allam, Peloton, McEwen (2023), arXiv 2303.08951. It reads no observations but a
light curve that a Gaussian process interpolated onto equal steps in time
(`models.gp`), one channel per band; each channel scaled by its median and
interquartile range in the training set. Scaling, temperature and softmax are part
of the graph, as in `models.tiny`.

Notation: B batch, L steps, C channels, D width, H heads, d = D / H, F width of
the feed-forward layer, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from models.attention import attend
from models.errors import ConfigurationError
from models.feature_sets import Inputs

__all__ = ["T2", "T2Config"]

_NORM_EPS: Final = 1e-6
_LIMIT: Final = 1e6
"""Interquartile ranges at which scaled channels are clipped: no flux goes so far, and the
squares in the normalisation stay finite whatever comes."""


@dataclass(frozen=True, slots=True)
class T2Config:
    """Sizes of a `T2`; the defaults are those of the paper."""

    n_channels: int
    """2 for ZTF's g and r, 6 for LSST's ugrizy."""
    n_classes: int = 14
    steps: int = 100
    width: int = 32
    heads: int = 16
    feed_forward: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise ConfigurationError(
                f"width {self.width} must be even and a multiple of {self.heads} heads", self.width
            )


class T2(nn.Module):
    """Map the interpolated light curves of `models.gp.Grids` to class probabilities."""

    position: Tensor
    median: Tensor
    gain: Tensor
    temperature: Tensor

    def __init__(self, config: T2Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv1d(config.n_channels, config.width, kernel_size=1)
        self.register_buffer("position", _positions(config.steps, config.width))
        self.register_buffer("median", torch.zeros(config.n_channels))
        self.register_buffer("gain", torch.ones(config.n_channels))
        self.register_buffer("temperature", torch.ones(()))
        self.block = T2Block(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.n_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                # The defaults of Keras, in which the original is written.
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def standardise(self, inputs: Iterable[Inputs]) -> None:
        """Fit the constants that scale the channels to the fluxes of training inputs.

        Median and interquartile range of a channel are taken over all curves and steps.
        A channel that never varies in training gets gain 0: it is not read.
        """
        steps = np.concatenate([chunk.arrays[0].reshape(-1, len(self.gain)) for chunk in inputs])
        low, median, high = np.percentile(steps.astype(np.float64), [25, 50, 75], axis=0)
        spread = high - low
        gain = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        self.median.copy_(torch.from_numpy(median))
        self.gain.copy_(torch.from_numpy(gain))

    def pooled(self, steps: Tensor) -> Tensor:
        """Return what the last layer reads, [B, D]."""
        x = ((steps - self.median) * self.gain).clamp(-_LIMIT, _LIMIT)  # [B, L, C]
        x = torch.relu(self.embed(x.transpose(1, 2)))  # [B, L, C] -> [B, C, L] -> [B, D, L]
        x = x.transpose(1, 2) + self.position  # [B, L, D] + [L, D]
        x = self.block(x)
        return torch.as_tensor(self.dropout(x.mean(1)))  # [B, L, D] -> [B, D]

    def judged(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return `scores` of what the last layer reads."""
        logits: Tensor = self.head(pooled)  # [B, D] -> [B, K]
        return logits, -torch.logsumexp(logits, -1)

    def scores(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, K] before temperature and softmax, and ``ood_score`` [B].

        ``steps`` [B, L, C] is the mean of the Gaussian process, nJy. The score is the
        energy -logsumexp(logits) of arXiv 2010.03759.
        """
        return self.judged(self.pooled(steps))

    def forward(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``probabilities`` [B, K] and ``ood_score`` [B]."""
        logits, ood_score = self.scores(steps)
        return torch.softmax(logits / self.temperature, -1), ood_score


class T2Block(nn.Module):
    """Self-attention and feed-forward layer, each normalised after its residual sum."""

    def __init__(self, config: T2Config) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, config.feed_forward), nn.ReLU(), nn.Linear(config.feed_forward, width)
        )
        self.norm_attention = nn.LayerNorm(width, eps=_NORM_EPS)
        self.norm_feed_forward = nn.LayerNorm(width, eps=_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the new steps, [B, L, D] -> [B, L, D]."""
        x = self.norm_attention(x + self.dropout(self.attend(x)))
        return torch.as_tensor(self.norm_feed_forward(x + self.dropout(self.feed_forward(x))))

    def attend(self, x: Tensor) -> Tensor:
        """Attend from every step to every step, [B, L, D] -> [B, L, D]."""
        parts = self.query(x), self.key(x), self.value(x)  # [B, L, D]
        # The same numbers: what cannot be exported is several times faster to train with.
        fast = x.device.type == "cpu" and x.dtype == torch.float32
        if fast and not torch.compiler.is_exporting():
            return torch.as_tensor(self.out(attend(*parts, self.heads)))
        return torch.as_tensor(self.out(self.mix(*parts)))

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return softmax(q k' / sqrt(d)) v of every head, side by side; all [B, L, D]."""
        q, k, v = self._split(query), self._split(key), self._split(value)  # [B, H, L, d]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # [B, H, L, L]
        mixed = torch.softmax(scores, -1) @ v  # [B, H, L, d]
        return mixed.transpose(1, 2).flatten(2)  # [B, L, H, d] -> [B, L, D]

    def _split(self, x: Tensor) -> Tensor:
        # [B, L, D] -> [B, L, H, d] -> [B, H, L, d]
        heads: Tensor = x.unflatten(-1, (self.heads, -1))  # type: ignore[no-untyped-call]
        return heads.transpose(1, 2)


def _positions(steps: int, width: int) -> Tensor:
    """Return the fixed sinusoidal encoding of the index, [L, D]: sine and cosine by turns."""
    index = torch.arange(steps, dtype=torch.float64).unsqueeze(1)  # [L, 1]
    rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)  # [D / 2]
    angle = index * rate  # [L, D / 2]
    pairs = torch.stack([torch.sin(angle), torch.cos(angle)], -1)  # [L, D / 2, 2]
    return pairs.flatten(1).float()  # [L, D]
