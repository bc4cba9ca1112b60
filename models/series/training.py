"""Train a `SeriesNet`: altered views of the series, soft labels of a forest, averaged weights.

The forest (extremely randomised trees, Geurts et al. 2006) sees bootstrap samples of
the series; the mean answer of those trees that did not see a series is its soft label
(distillation, arXiv 1503.02531), so no label is taught that a tree has memorised.

Notation: n series, P bands, T steps, F features, K classes, V views, B batch, M members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import ExtraTreesClassifier
from torch import Tensor

from models.errors import ConfigurationError, DataError
from models.series.network import NetworkConfig, SeriesNet
from models.series.summaries import noise, summarise

__all__ = [
    "MIN_TREES",
    "Fitted",
    "SeriesConfig",
    "altered",
    "answers",
    "fit",
    "forest",
    "forest_answers",
    "soft_labels",
]

MIN_TREES: Final = 50
"""Of fewer trees, bootstrap samples may hold a series in every one."""

_FLOOR: Final = 1e-3
"""Added to a forest's probabilities: no tree voting for a class is not certainty."""

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SeriesConfig:
    """How to train; `models.series.crossval` compares settings on the train part alone."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    averaging: float = 0.99
    """Decay per step of the averaged weights, which are the ones kept."""
    views: int = 6
    """Altered copies of every series."""
    unaltered: float = 0.5
    """Probability that a series is shown as it is."""
    softness: float = 0.5
    """Weight of the forest's answers in the labels."""
    trees: int = 250


@dataclass(frozen=True, slots=True)
class Fitted:
    """What `fit` returns: the network, and the forest that taught it."""

    network: SeriesNet
    teacher: ExtraTreesClassifier


def altered(flux: npt.NDArray[np.floating], rng: np.random.Generator) -> Floats32:
    """Return series [n, P, T] as they might have been: other distance, cadence, start and noise.

    Brightness is scaled by a log-normal factor of 0.25, time is stretched by one of
    0.1 and shifted by up to a sixth of the window (what is missing is mirrored), and
    noise of up to 0.3 of the series' own is added. All bands keep in step.
    """
    n, bands, steps = flux.shape
    stretch = np.exp(rng.normal(0, 0.1, (n, 1)))
    shift = rng.uniform(-steps / 6, steps / 6, (n, 1))
    at = (np.arange(steps) - steps / 2) * stretch + steps / 2 + shift  # [n, T]
    at = np.abs(at)
    at = np.clip(steps - 1 - np.abs(steps - 1 - at), 0, steps - 1)
    before = at.astype(np.int64)
    after = np.minimum(before + 1, steps - 1)
    weight = (at - before)[:, None]
    moved = np.take_along_axis(flux, before[:, None], 2) * (1 - weight)
    moved += np.take_along_axis(flux, after[:, None], 2) * weight
    moved *= np.exp(rng.normal(0, 0.25, (n, 1, 1)))
    scatter = 0.3 * rng.uniform(size=(n, 1, 1)) * noise(flux)[..., None]
    return np.asarray(moved + scatter * rng.normal(size=(n, bands, steps)), np.float32)


def forest(
    features: Floats32, label: npt.NDArray[np.int64], n_classes: int, trees: int, seed: int
) -> ExtraTreesClassifier:
    """Return the forest that teaches, and that stands beside the network as its baseline.

    Every class must have at least one series: `DataError` otherwise.
    `ConfigurationError` for so few trees that some series would be in every sample.
    """
    if set(np.unique(label)) != set(range(n_classes)):
        raise DataError(f"each of {n_classes} classes needs training series", n_classes)
    if trees < MIN_TREES:
        raise ConfigurationError(f"trees must be at least {MIN_TREES}, not {trees}", trees)
    fitted = ExtraTreesClassifier(
        trees,
        max_features=0.15,
        min_samples_leaf=2,
        bootstrap=True,
        oob_score=True,
        random_state=seed,
    )
    return fitted.fit(features, label)


def soft_labels(teacher: ExtraTreesClassifier) -> Floats32:
    """Return probabilities [n, K] of the training series by the trees that did not see them."""
    return np.asarray(teacher.oob_decision_function_, np.float32)


def fit(
    flux: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    n_classes: int,
    seed: int,
    config: SeriesConfig | None = None,
) -> Fitted:
    """Return what is trained on series [n, P, T] and labels [n].

    The same seed gives the same on the same machine. `DataError` for series
    that `summarise` does not take and for classes without series.
    """
    config = config or SeriesConfig()
    rng = np.random.default_rng(seed)
    views = [summarise(flux), *(summarise(altered(flux, rng)) for _ in range(config.views))]
    hard = np.eye(n_classes, dtype=np.float32)[label]
    teacher = forest(views[0], label, n_classes, config.trees, seed)
    target = torch.from_numpy(config.softness * soft_labels(teacher) + (1 - config.softness) * hard)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SeriesNet(views[0].shape[1], n_classes, config.network)
        network.standardise_by(torch.from_numpy(views[0]))
        trained = _descend(network, torch.from_numpy(np.stack(views)), target, rng, config)
    return Fitted(trained, teacher)


def answers(network: SeriesNet, flux: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] of series [n, P, T]."""
    network.eval()
    with torch.inference_mode():
        log_probability: Tensor = network(torch.from_numpy(summarise(flux)))
    return log_probability.double().softmax(dim=1).numpy()


def forest_answers(
    fitted: ExtraTreesClassifier, flux: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] of series [n, P, T] by a forest, none of them quite 0."""
    found = fitted.predict_proba(summarise(flux)) + _FLOOR
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _descend(
    network: SeriesNet,
    views: Tensor,
    target: Tensor,
    rng: np.random.Generator,
    config: SeriesConfig,
) -> SeriesNet:
    """Fit to views [V, n, F] and targets [n, K]; return the network of averaged weights."""
    n = len(target)
    batch = min(config.batch, n)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.averaging)
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * (n // batch), pct_start=0.2
    )
    network.train()
    for _ in range(config.epochs):
        for rows in np.split(rng.permutation(n)[: n // batch * batch], n // batch):
            drawn = rng.integers(1, len(views), batch) if len(views) > 1 else 0
            view = np.where(rng.uniform(size=batch) < config.unaltered, 0, drawn)
            answer = network.members(views[view, rows])  # [M, B, K]
            loss = -(target[rows] * answer).sum(dim=(0, 2)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            averaged.update_parameters(network)
    trained: SeriesNet = averaged.module
    return trained.eval()
