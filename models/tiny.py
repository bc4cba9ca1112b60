"""The observation-token transformer: a few latent queries attend to the observations.

Cost is linear in the number of observations, because these never attend to one
another (compare Perceiver, arXiv 2103.03206); what a token must know of its
neighbours is in its context channels (`models.features`). Scaling, temperature
and softmax are part of the graph, so that the exported file needs nothing else.

Notation: B batch, L observations (padded), C channels per observation, G
channels per object, E encoded channels, N latents, D width, H heads, d size of
a head, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import ConfigurationError
from models.feature_sets import Inputs
from models.features import OBJECT_CHANNELS, TOKEN_CHANNELS
from models.lightcurve import BANDS

__all__ = ["Block", "BlockSize", "Tiny", "TinyConfig"]

_PERIODS_DAYS: Final = np.geomspace(12.0, 400.0, 6)
_TIME_SCALE_DAYS: Final = 20.0
_CENTRES: Final = np.log(np.array([b.wavelength_aa for b in BANDS if b.survey == "lsst"]) / 6000.0)
_BASIS_WIDTH: Final = 0.07
"""About half the distance of the two closest LSST bands, in ln(wavelength)."""
_MASKED: Final = -1e9
_LIMIT: Final = 10.0
"""Standard deviations at which standardised channels are clipped: real alerts go further."""
_MEASURED: Final = TOKEN_CHANNELS.index("flux")
"""First of the channels that are standardised; time and wavelength come before it."""
_PARTS: Final = (1, 2 * len(_PERIODS_DAYS), len(_CENTRES), len(TOKEN_CHANNELS) - _MEASURED)
"""Parts of the code of a token, E in all: age, Fourier series, band, standardised channels."""


@dataclass(frozen=True, slots=True)
class BlockSize:
    """Sizes of a `Block`."""

    heads: int
    head_size: int
    feed_forward: int


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Sizes of a `Tiny`. What is a tuple has one number per block, the reading block first."""

    n_classes: int
    width: int = 24
    latents: int = 6
    heads: int | tuple[int, ...] = 4
    latent_blocks: int = 1
    rejects: bool = False
    """Has an output of its own that tells artefacts from objects; else the energy does."""
    head_size: int | None = None
    """Channels of a head; width / heads by default."""
    feed_forward: int | tuple[int, ...] | None = None
    """Units between the two layers of a block; twice the width by default."""

    def __post_init__(self) -> None:
        for sizes in (self.heads, self.feed_forward):
            if isinstance(sizes, tuple) and len(sizes) != 1 + self.latent_blocks:
                raise ConfigurationError(
                    f"{len(sizes)} sizes for {1 + self.latent_blocks} blocks", sizes
                )
        if self.head_size is None and (isinstance(self.heads, tuple) or self.width % self.heads):
            raise ConfigurationError(
                f"width {self.width} is not a multiple of {self.heads} heads: say head_size",
                self.width,
            )

    @property
    def blocks(self) -> list[BlockSize]:
        """Return the sizes of each block, the reading one first."""
        n = 1 + self.latent_blocks
        units = 2 * self.width if self.feed_forward is None else self.feed_forward
        heads = self.heads if isinstance(self.heads, tuple) else (self.heads,) * n
        units = units if isinstance(units, tuple) else (units,) * n
        size = self.width // heads[0] if self.head_size is None else self.head_size
        return [BlockSize(h, size, u) for h, u in zip(heads, units, strict=True)]


class Tiny(nn.Module):
    """Map the tensors of `models.features.ModelInputs` to class probabilities."""

    spread: Tensor
    offset: Tensor
    object_mean: Tensor
    object_gain: Tensor
    temperature: Tensor

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        spread, offset = _spread()
        for name, value in {
            "spread": spread,
            "offset": offset,
            "object_mean": torch.zeros(len(OBJECT_CHANNELS)),
            "object_gain": torch.ones(len(OBJECT_CHANNELS)),
            "temperature": torch.ones(()),
        }.items():
            self.register_buffer(name, value)
        self.embed = nn.Sequential(
            nn.Linear(len(offset), width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.5)
        self.condition = nn.Linear(len(OBJECT_CHANNELS), width)
        self.read, *blocks = (Block(width, config.latents, size) for size in config.blocks)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(config.latents * width, config.n_classes + config.rejects)

    def standardise(self, inputs: Iterable[Inputs]) -> None:
        """Fit the constants that standardise the channels to training inputs.

        A channel that never varies in training (a band that the survey does not
        have) gets gain 0: it cannot disturb the answers on other surveys.
        """
        batches = [batch.arrays for batch in inputs]
        values = np.concatenate([tokens[mask][:, _MEASURED:] for tokens, mask, _ in batches])
        mean, gain = _standard(values)
        self.spread[-len(gain) :, _MEASURED:] = torch.diag(gain)
        self.offset[-len(gain) :] = -mean * gain
        mean, gain = _standard(np.concatenate([objects for _, _, objects in batches]))
        self.object_mean.copy_(mean)
        self.object_gain.copy_(gain)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return what the embedding reads of T tokens, [T, C] -> [T, E].

        Channels come first on the way: ONNX Runtime pays for every row of a constant that
        is spread over rows, and here there are E of them instead of T.
        """
        spread = torch.addmm(self.offset[:, None], self.spread, tokens.T)  # [C, T] -> [E, T]
        age, angle, distance, measured = torch.split(spread, list(_PARTS))
        age = age.abs()
        encoded = [
            torch.log(age + torch.sqrt(age * age + 1.0)),  # asinh, faster
            torch.sin(angle),
            torch.exp(-(distance * distance)),
            measured.clamp(-_LIMIT, _LIMIT),
        ]
        return torch.cat(encoded).T  # [E, T] -> [T, E]

    def pooled(self, tokens: Tensor, mask: Tensor, objects: Tensor) -> Tensor:
        """Return what the last layer reads, [B, N * D]."""
        width, latents = self.config.width, self.config.latents
        # As one matrix of all tokens, so that every layer is one multiplication with its bias.
        x = self.embed(self.encode(tokens.flatten(0, 1)))  # [B, L, C] -> [B * L, D]
        x = x.view(*mask.shape, width)  # [B, L, D]
        globals_ = ((objects - self.object_mean) * self.object_gain).clamp(-_LIMIT, _LIMIT)
        z = self.latents + self.condition(globals_).unsqueeze(1)  # [N, D] + [B, 1, D] -> [B, N, D]
        z = self.read(z.flatten(0, 1), x, mask)  # [B * N, D]
        for block in self.blocks:
            z = block(z)
        return torch.as_tensor(self.norm(z).view(-1, latents * width))

    def judged(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return `scores` of what the last layer reads."""
        logits: Tensor = self.head(pooled)  # [B, N * D] -> [B, K]
        if self.config.rejects:
            return logits[:, :-1], logits[:, -1]
        return logits, -torch.logsumexp(logits, -1)

    def scores(self, tokens: Tensor, mask: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, K] before temperature and softmax, and ``ood_score`` [B].

        The score is learnt from artefacts (log-odds), or else the energy -logsumexp(logits) of
        arXiv 2010.03759.
        """
        return self.judged(self.pooled(tokens, mask, objects))

    def forward(self, tokens: Tensor, mask: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``probabilities`` [B, K] and ``ood_score`` [B]."""
        logits, ood_score = self.scores(tokens, mask, objects)
        return torch.softmax(logits / self.temperature, -1), ood_score


def _spread() -> tuple[Tensor, Tensor]:
    """Return the matrix [E, C] and offsets [E] that lead from channels to the parts of the code.

    Age, angles of the Fourier series (a cosine is a sine a quarter ahead), distances from
    the bands' wavelengths, and the channels to standardise, still as they are.
    """
    measured = len(TOKEN_CHANNELS) - _MEASURED
    spread = torch.zeros(sum(_PARTS), len(TOKEN_CHANNELS))
    offset = torch.zeros(sum(_PARTS))
    _, angle, distance, rest = np.split(np.arange(sum(_PARTS)), np.cumsum(_PARTS)[:-1])
    spread[0, 0] = 1 / _TIME_SCALE_DAYS
    spread[angle, 0] = torch.from_numpy(np.tile(2 * math.pi / _PERIODS_DAYS, 2)).float()
    offset[angle[len(_PERIODS_DAYS) :]] = math.pi / 2
    spread[distance, 1] = 1 / (_BASIS_WIDTH * math.sqrt(2))
    offset[distance] = torch.from_numpy(-_CENTRES / (_BASIS_WIDTH * math.sqrt(2))).float()
    spread[rest, _MEASURED:] = torch.eye(measured)
    return spread, offset


def _standard(values: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / standard deviation of channels [n, C]; gain 0 where nothing varies."""
    mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    gain = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0.0)
    return torch.from_numpy(mean).float(), torch.from_numpy(gain).float()


class Block(nn.Module):
    """Pre-norm attention and feed-forward layer.

    The latents attend to the tokens, or to one another when none are given.
    """

    def __init__(self, width: int, latents: int, size: BlockSize) -> None:
        super().__init__()
        self.latents, self.heads = latents, size.heads
        inner, units = size.heads * size.head_size, size.feed_forward
        self.norm_query = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner)
        # A bias on the keys shifts all scores of a query alike: softmax removes it.
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, units), nn.GELU(), nn.Linear(units, width)
        )

    def forward(self, z: Tensor, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the new latents [B * N, D] from latents, tokens [B, L, D] and mask [B, L]."""
        queries = self.norm_query(z)
        source = queries.view(-1, self.latents, z.shape[-1]) if x is None else x
        z = z + self.attend(queries, source, mask)
        return z + torch.as_tensor(self.feed_forward(z))

    def attend(self, queries: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from ``queries`` [B * N, D] to ``source`` [B, L, D]; [B * N, D].

        Where ``mask`` [B, L] leaves nothing, the average of the padding is read: finite.

        Keys and values of the L tokens are never made. What a head's query asks for is carried
        over to the tokens' own channels, and what it reads there to the output (the products of
        weights are the same for every curve, and computed once in the exported file).
        """
        heads, width = self.heads, queries.shape[-1]
        key, value = (m.weight.view(heads, -1, width) for m in (self.key, self.value))  # [H, d, D]
        ask = self.query.weight.view(heads, -1, width).transpose(1, 2) @ key  # [H, D, D]
        ask_bias = self.query.bias.view(heads, 1, -1) @ key  # [H, 1, D]
        scale = key.shape[1] ** -0.5
        asked = torch.addmm(
            ask_bias.flatten() * scale, queries, ask.transpose(0, 1).flatten(1) * scale
        )  # [B * N, H * D]
        scores = asked.view(source.shape[0], -1, width) @ source.transpose(1, 2)  # [B, N * H, L]
        if mask is not None:
            scores = torch.where(mask[:, None, :], scores, _MASKED)
        found = (torch.softmax(scores, -1) @ source).view(-1, heads * width)  # [B * N, H * D]
        tell = self.out.weight.view(width, heads, -1).transpose(0, 1) @ value  # [H, D, D]
        tell_bias = self.out.weight @ self.value.bias + self.out.bias
        return torch.addmm(tell_bias, found, tell.transpose(1, 2).flatten(0, 1))
