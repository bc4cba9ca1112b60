"""The networks that can be trained, each with the features that it reads.

Notation: n curves, B curves of one batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import ConfigurationError
from models.feature_sets import FeatureSet, Inputs, ObservationTokens, ProcessGrid
from models.lightcurve import LightCurves
from models.recipe import NetworkRecipe
from models.t2 import T2, T2Config
from models.tiny import Tiny, TinyConfig

__all__ = [
    "Network",
    "batch_tensors",
    "build",
    "curve_scores",
    "features_of",
    "n_parameters",
    "shift_prior",
]

_CHUNK: Final = 256


class Network(Protocol):
    """What training and export need of a network; each is an `nn.Module` too."""

    temperature: Tensor

    def standardise(self, inputs: Iterable[Inputs]) -> None:
        """Fit the constants that scale the channels to training inputs."""
        ...

    def scores(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, K] before temperature and softmax, and ``ood_score`` [B]."""
        ...


def features_of(recipe: NetworkRecipe) -> FeatureSet:
    """Return the features that a network reads; `ConfigurationError` for unknown bands."""
    if recipe.kind == "tiny":
        return ObservationTokens()
    if not recipe.bands:
        raise ConfigurationError('[network] bands: say in which bands t2 reads curves: ["lsst:g"]')
    return ProcessGrid(tuple(recipe.bands))


def build(recipe: NetworkRecipe, n_classes: int, rejects: bool, seed: int) -> Tiny | T2:
    """Return a new network. ``rejects``: it learns from artefacts what is no object."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.kind == "t2":
            return T2(T2Config(len(recipe.bands), n_classes))
        return Tiny(
            TinyConfig(
                n_classes,
                recipe.width,
                recipe.latents,
                recipe.heads,
                recipe.latent_blocks,
                rejects,
                recipe.head_size,
                recipe.feed_forward,
            )
        )


def shift_prior(network: Tiny | T2, ratio: npt.NDArray[np.floating]) -> None:
    """Make the classes as much more frequent, [K], as ``ratio`` says, as `calibrate.prior_shift`.

    The shift becomes part of the biases of the last layer; the temperature must be final.
    """
    with torch.no_grad():
        shift = torch.from_numpy(np.log(ratio)).float() * network.temperature
        network.head.bias[: len(ratio)] += shift


def n_parameters(network: nn.Module) -> int:
    """Count the numbers that are trained."""
    return sum(p.numel() for p in network.parameters())


def batch_tensors(inputs: Inputs, device: torch.device | None = None) -> list[Tensor]:
    """Return the arrays of a batch as tensors; on the CPU they share memory."""
    return [torch.from_numpy(array).to(device) for array in inputs.arrays]


def curve_scores(
    network: Tiny | T2,
    features: FeatureSet,
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return logits [n, K] and ``ood_score`` [n] of all curves at their triggers, days, [n]."""
    device = network.temperature.device
    logits, ood_score = None, np.empty(len(curves), np.float32)
    network.eval()
    with torch.inference_mode():
        for inputs in features.inputs(curves, trigger_mjd):
            tensors = batch_tensors(inputs)
            for i in range(0, len(inputs.rows), _CHUNK):
                part, ood = network.scores(*(t[i : i + _CHUNK].to(device) for t in tensors))
                if logits is None:
                    logits = np.empty((len(curves), part.shape[1]), np.float32)
                rows = inputs.rows[i : i + _CHUNK]
                logits[rows], ood_score[rows] = part.cpu().numpy(), ood.cpu().numpy()
    assert logits is not None, "no curves"
    return logits, ood_score
