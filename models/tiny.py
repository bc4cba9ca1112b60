"""The observation-token transformer: a few latent queries attend to the observations.

Cost is linear in the number of observations, because these never attend to one
another (compare Perceiver, arXiv 2103.03206); what a token must know of its
neighbours is in its context channels (`models.features`). Scaling, temperature
and softmax are part of the graph, so that the exported file needs nothing else.

Notation: B batch, L observations (padded), C channels per observation, G
channels per object, E encoded channels, N latents, D width, H heads, d = D / H,
K classes.
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
from models.features import OBJECT_CHANNELS, TOKEN_CHANNELS, ModelInputs, model_inputs
from models.lightcurve import BANDS, LightCurves

__all__ = ["Tiny", "TinyConfig", "curve_logits", "input_tensors"]

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


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Sizes of a `Tiny`."""

    n_classes: int
    width: int = 24
    latents: int = 6
    heads: int = 4
    latent_blocks: int = 1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigurationError(
                f"width {self.width} is not a multiple of {self.heads} heads", self.width
            )


class Tiny(nn.Module):
    """Map the tensors of `models.features.ModelInputs` to class probabilities."""

    inverse_period: Tensor
    centres: Tensor
    token_mean: Tensor
    token_gain: Tensor
    object_mean: Tensor
    object_gain: Tensor
    temperature: Tensor

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        width, measured = config.width, len(TOKEN_CHANNELS) - _MEASURED
        encoded = 1 + 2 * len(_PERIODS_DAYS) + len(_CENTRES) + measured
        for name, value in {
            "inverse_period": torch.tensor(2 * math.pi / _PERIODS_DAYS, dtype=torch.float32),
            "centres": torch.tensor(_CENTRES, dtype=torch.float32),
            "token_mean": torch.zeros(measured),
            "token_gain": torch.ones(measured),
            "object_mean": torch.zeros(len(OBJECT_CHANNELS)),
            "object_gain": torch.ones(len(OBJECT_CHANNELS)),
            "temperature": torch.ones(()),
        }.items():
            self.register_buffer(name, value)
        self.embed = nn.Sequential(
            nn.Linear(encoded, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width)
        )
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.5)
        self.condition = nn.Linear(len(OBJECT_CHANNELS), width)
        self.read = Block(width, config.heads)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.latent_blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(config.latents * width, config.n_classes)

    def standardise(self, inputs: Iterable[ModelInputs]) -> None:
        """Fit the constants that standardise the channels to training inputs.

        A channel that never varies in training (a band that the survey does not
        have) gets gain 0: it cannot disturb the answers on other surveys.
        """
        batches = list(inputs)
        tokens = np.concatenate([b.tokens[b.mask][:, _MEASURED:] for b in batches])
        objects = np.concatenate([b.objects for b in batches])
        for name, values in {"token": tokens, "object": objects}.items():
            mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
            gain = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0.0)
            getattr(self, f"{name}_mean").copy_(torch.from_numpy(mean))
            getattr(self, f"{name}_gain").copy_(torch.from_numpy(gain))

    def encode(self, tokens: Tensor) -> Tensor:
        """Return what the embedding reads of the tokens, [B, L, C] -> [B, L, E]."""
        time, log_wavelength = tokens[..., :1], tokens[..., 1:2]
        angle = time * self.inverse_period  # [B, L, 6]
        band = torch.exp(-0.5 * ((log_wavelength - self.centres) / _BASIS_WIDTH) ** 2)  # [B, L, 6]
        measured = (tokens[..., _MEASURED:] - self.token_mean) * self.token_gain
        return torch.cat(
            [
                torch.asinh(time / _TIME_SCALE_DAYS),
                torch.sin(angle),
                torch.cos(angle),
                band,
                measured.clamp(-_LIMIT, _LIMIT),
            ],
            dim=-1,
        )

    def logits(self, tokens: Tensor, mask: Tensor, objects: Tensor) -> Tensor:
        """Return the scores of the classes before temperature and softmax, [B, K]."""
        x = self.embed(self.encode(tokens))  # [B, L, D]
        globals_ = ((objects - self.object_mean) * self.object_gain).clamp(-_LIMIT, _LIMIT)
        z = self.latents + self.condition(globals_).unsqueeze(1)  # [N, D] + [B, 1, D] -> [B, N, D]
        z = self.read(z, x, mask)
        for block in self.blocks:
            z = block(z)
        scores: Tensor = self.head(self.norm(z).flatten(1))  # [B, N, D] -> [B, N * D] -> [B, K]
        return scores

    def forward(self, tokens: Tensor, mask: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``probabilities`` [B, K] and ``ood_score`` [B].

        The score is the energy -logsumexp(logits) of arXiv 2010.03759.
        """
        logits = self.logits(tokens, mask, objects)
        return torch.softmax(logits / self.temperature, -1), -torch.logsumexp(logits, -1)


class Block(nn.Module):
    """Pre-norm attention and feed-forward layer.

    The latents attend to the tokens, or to one another when none are given.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        # A bias on the keys shifts all scores of a query alike: softmax removes it.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, z: Tensor, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the new latents [B, N, D] from latents, tokens [B, L, D] and mask [B, L]."""
        queries = self.norm_query(z)
        source = queries if x is None else x
        z = z + self.attend(queries, source, mask)
        return z + torch.as_tensor(self.feed_forward(z))

    def attend(self, queries: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from ``queries`` [B, N, D] to ``source`` [B, L, D]; [B, N, D].

        Where ``mask`` [B, L] leaves nothing, the average of the padding is read: finite.
        """
        q = self._split(self.query(queries))  # [B, H, N, d]
        k = self._split(self.key(source))  # [B, H, L, d]
        v = self._split(self.value(source))  # [B, H, L, d]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # [B, H, N, L]
        if mask is not None:
            scores = torch.where(mask[:, None, None, :], scores, _MASKED)  # [B, 1, 1, L]
        mixed = torch.softmax(scores, -1) @ v  # [B, H, N, d]
        merged = mixed.transpose(1, 2).flatten(2)  # [B, N, H, d] -> [B, N, D]
        return torch.as_tensor(self.out(merged))

    def _split(self, x: Tensor) -> Tensor:
        # [B, L, D] -> [B, L, H, d] -> [B, H, L, d]
        heads: Tensor = x.unflatten(-1, (self.heads, -1))  # type: ignore[no-untyped-call]
        return heads.transpose(1, 2)


def input_tensors(inputs: ModelInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, mask and objects of one bucket as torch tensors that share memory."""
    return (
        torch.from_numpy(inputs.tokens),
        torch.from_numpy(inputs.mask),
        torch.from_numpy(inputs.objects),
    )


def curve_logits(
    model: Tiny,
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    chunk: int = 256,
) -> npt.NDArray[np.float32]:
    """Return the logits of all curves at their triggers, [n, K], ``chunk`` curves at a time."""
    logits = np.empty((len(curves), model.config.n_classes), np.float32)
    model.eval()
    with torch.inference_mode():
        for inputs in model_inputs(curves, trigger_mjd):
            tensors = input_tensors(inputs)
            for i in range(0, len(inputs.rows), chunk):
                part = model.logits(*(t[i : i + chunk] for t in tensors))
                logits[inputs.rows[i : i + chunk]] = part.numpy()
    return logits
