"""Train a `SeriesNet` and the forest that stands beside it.

Notation: n series, P bands, T steps, F summary features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import ExtraTreesClassifier
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.calibrate import softmax
from models.errors import DataError
from models.series.network import NetworkConfig, SeriesNet, channels
from models.series.summaries import summarise

__all__ = [
    "FOREST_TEMPERATURE",
    "JOINT_TEMPERATURE",
    "SeriesConfig",
    "answers",
    "fit",
    "forest",
    "forest_answers",
    "joint_answers",
]

_FLOOR: Final = 1e-3
"""Added to a forest's probabilities: no tree voting for a class is not certainty."""
FOREST_TEMPERATURE: Final = 0.69
"""At which the log-loss of a forest, classes as frequent as they are, is lowest on three of
five folds of the train part."""
JOINT_TEMPERATURE: Final = 0.73
"""The same of the mean of network and balanced forest, on all folds."""

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class SeriesConfig:
    """How to train; `models.series.crossval` measures it on the train part alone."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = 40
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    averaging: float = 0.995
    """Decay per step of the averaged weights, which are the ones kept."""
    scale: float = 0.1
    """Standard deviation of the logarithm of a factor on all fluxes of a series."""
    noise: float = 0.03
    """Noise that is added, in units of the mean |flux| of a band."""
    shift: int = 3
    """Largest shift in time, steps."""
    copies: int = 8
    """Altered copies of each series that an epoch draws from."""
    mixup: float = 0.2
    """Parameter of the beta distribution of mixup (arXiv 1710.09412)."""
    smoothing: float = 0.05
    """Part of each label that is spread over all classes."""
    trees: int = 300
    """Of each forest."""


def fit(
    flux: Floats, label: npt.NDArray[np.int64], n_classes: int, seed: int, config: SeriesConfig
) -> SeriesNet:
    """Return a network trained on series [n, P, T] and labels [n].

    The same seed makes the same network on the same machine. `DataError` for classes
    without series.
    """
    if set(np.unique(label)) != set(range(n_classes)):
        raise DataError(f"each of {n_classes} classes needs training series", n_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        summary = summarise(flux)
        network = SeriesNet(flux.shape[1], summary.shape[1], n_classes, config.network)
        network.standardise(summary)
        target = np.eye(n_classes, dtype=np.float32)[label]
        for i, member in enumerate(network.members):
            rng = np.random.default_rng([seed, i])
            copies = _Copies(flux, network, rng, config)
            trained = _descend(member, copies, target, rng, config)
            member.load_state_dict(trained.state_dict())
    return network.eval()


def answers(network: SeriesNet, flux: Floats) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] of series [n, P, T]."""
    network.eval()
    with torch.inference_mode():
        found: Tensor = network(
            torch.from_numpy(flux.astype(np.float32)), torch.from_numpy(summarise(flux))
        )
    return found.double().numpy()


def forest(
    flux: Floats, label: npt.NDArray[np.int64], trees: int, seed: int, balanced: bool = False
) -> ExtraTreesClassifier:
    """Fit extremely randomised trees to summary features: the baseline."""
    fitted = ExtraTreesClassifier(
        trees,
        max_features=0.3,
        min_samples_leaf=2,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )
    return fitted.fit(summarise(flux), label)


def forest_answers(fitted: ExtraTreesClassifier, flux: Floats) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] of series [n, P, T] by a forest, none of them quite 0."""
    found = fitted.predict_proba(summarise(flux)) + _FLOOR
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def joint_answers(
    network: npt.NDArray[np.float64], balanced: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean of what a network and a forest of balanced classes answer, sharpened."""
    return softmax(np.log((network + balanced) / 2), JOINT_TEMPERATURE)


class _Copies:
    """Series of other brightness, noise and start, and what a network reads of them."""

    def __init__(
        self, flux: Floats, network: SeriesNet, rng: np.random.Generator, config: SeriesConfig
    ) -> None:
        self.size = len(flux)
        copies = [_altered(flux, rng, config) for _ in range(config.copies)]
        self._flux = torch.from_numpy(np.stack(copies))  # [copies, n, P, T]
        self._summary = torch.stack(
            [network.standardised(torch.from_numpy(summarise(copy))) for copy in copies]
        )

    def of(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return channels and standardised summaries [B, F] of any copy of the rows [B]."""
        which = rng.integers(len(self._flux), size=len(rows))
        return channels(self._flux[which, rows]), self._summary[which, rows]


def _descend(
    member: nn.Module,
    copies: _Copies,
    target: npt.NDArray[np.float32],
    rng: np.random.Generator,
    config: SeriesConfig,
) -> nn.Module:
    """Train a member on targets [n, K]; return that of averaged weights."""
    steps = max(1, copies.size // config.batch)
    optimizer = torch.optim.AdamW(
        member.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * steps, pct_start=0.15
    )
    decay = config.averaging

    def blend(mean: Tensor, now: Tensor, seen: Tensor | int) -> Tensor:
        if not mean.is_floating_point():
            return now
        count = float(seen)
        # The average forgets the random start quickly.
        return mean.lerp(now, 1 - min(decay, (1 + count) / (10 + count)))

    averaged = AveragedModel(member, avg_fn=blend, use_buffers=True)
    member.train()
    for _ in range(config.epochs):
        for read, summary, label in _batches(copies, target, rng, config, steps):
            loss = -(label * member(read, summary).log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            averaged.update_parameters(member)
    kept: nn.Module = averaged.module
    return kept.eval()


def _batches(
    copies: _Copies,
    target: npt.NDArray[np.float32],
    rng: np.random.Generator,
    config: SeriesConfig,
    steps: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield channels, summaries and labels of altered, mixed series, one epoch of them."""
    k = target.shape[1]
    for rows in np.array_split(rng.permutation(copies.size), steps):
        read, summary = copies.of(rows, rng)
        label = torch.from_numpy(target[rows]) * (1 - config.smoothing) + config.smoothing / k
        share = rng.beta(config.mixup, config.mixup)
        other = torch.from_numpy(rng.permutation(len(rows)))
        yield (
            torch.lerp(read[other], read, share),
            torch.lerp(summary[other], summary, share),
            torch.lerp(label[other], label, share),
        )


def _altered(
    flux: Floats, rng: np.random.Generator, config: SeriesConfig
) -> npt.NDArray[np.float32]:
    """Return series [n, P, T] of another brightness, noise and start, all bands in step."""
    n, _, steps = flux.shape
    factor = np.exp(rng.normal(0, config.scale, (n, 1, 1)))
    spread = config.noise * np.abs(flux).mean(2, keepdims=True)
    changed = (flux + spread * rng.standard_normal(flux.shape)) * factor
    by = rng.integers(-config.shift, config.shift + 1, (n, 1, 1))
    index = np.clip(np.arange(steps) - by, 0, steps - 1)
    moved = np.take_along_axis(changed, np.broadcast_to(index, flux.shape), 2)
    return np.asarray(moved, np.float32)
