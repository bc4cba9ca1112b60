"""The training loop: AdamW, one learning-rate cycle, averaged weights, exact resumption.

All randomness of epoch e comes from a generator seeded with (seed, e): a run
that was interrupted and resumed makes the same model as one that was not, and
the same seed makes the same bytes on the same machine.

Notation: B batch, L observations (padded), K classes.
"""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.augment import Augmentation, alert_views, at_last_detection, random_detection
from models.datasets import LabelledCurves
from models.errors import ConfigurationError
from models.export import replace
from models.features import LENGTH_BUCKETS, ModelInputs, model_inputs, n_usable
from models.lightcurve import LightCurves
from models.split import Split
from models.tiny import Tiny, TinyConfig, curve_logits, input_tensors

__all__ = ["CHECKPOINT_NAME", "EpochRecord", "TrainConfig", "Trainer", "torch_threads"]

CHECKPOINT_NAME: Final = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a model is trained; the defaults made the deployed one."""

    dataset: str = "spcc"
    seed: int = 0
    """Of weights, batches and augmentation."""
    split_seed: int = 0
    """Of the division into parts, so that several seeds can be compared on one."""
    epochs: int = 40
    batch: int = 128
    """Curves per step."""
    lr: float = 4e-3
    """Peak of the one-cycle learning rate."""
    warm_up: float = 0.2
    """Fraction of the steps until the peak."""
    weight_decay: float = 0.1
    averaging: float = 0.998
    """Decay per step of the moving average of the weights, which is the model."""
    patience: int = 20
    """Epochs without a better validation log-loss after which training stops."""
    validation: float = 0.2
    """Fraction of each class in templates that are never trained on."""
    test: float = 0.15
    """Fraction of the other objects that are set aside for the test."""
    width: int = 24
    latents: int = 6
    heads: int = 4
    latent_blocks: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    threads: int = 1
    """Of torch. More change the order of sums, and with it the last bits."""
    bootstrap: int = 500
    """Resamples of the objects behind the intervals in the card."""
    name: str = "tiny-spcc"
    version: str = "0.1.1"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One row of the metrics log. Losses are natural log-losses in nats."""

    epoch: int
    train_log_loss: float
    validation_log_loss: float
    learning_rate: float


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """A training run that can be stopped after any epoch and taken up again."""

    def __init__(self, data: LabelledCurves, split: Split, config: TrainConfig) -> None:
        self.config = config
        self.split = split
        self.seconds = 0.0
        """Wall time spent in epochs."""
        self.curves = data.curves.take(split.train)
        self.label = torch.from_numpy(data.label[split.train])
        self.steps = math.ceil(len(self.label) / config.batch)
        self.validation = validation_views(data.curves.take(split.validation), config.split_seed)
        self._validation_label = torch.from_numpy(np.tile(data.label[split.validation], 2))
        self.model = _new_model(config, self.curves, len(data.classes))
        self.average = copy.deepcopy(self.model)
        self.best = copy.deepcopy(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.history: list[EpochRecord] = []

    @property
    def epoch(self) -> int:
        """Return how many epochs are done."""
        return len(self.history)

    @property
    def done(self) -> bool:
        """Return whether all epochs are done or none has helped for ``patience`` epochs."""
        since = self.epoch - 1 - self.best_epoch if self.history else 0
        return self.epoch >= self.config.epochs or since >= self.config.patience

    @property
    def best_epoch(self) -> int:
        """Return the epoch with the lowest validation log-loss."""
        losses = [record.validation_log_loss for record in self.history]
        return int(np.argmin(losses)) if losses else 0

    def best_model(self) -> Tiny:
        """Return the model of the best epoch."""
        model = copy.deepcopy(self.average)
        model.load_state_dict(self.best)
        return model.eval()

    def validation_answers(
        self, model: Tiny
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return logits [v, K] and labels [v] of the validation alerts."""
        return curve_logits(model, *self.validation), self._validation_label.numpy()

    def run_epoch(self) -> EpochRecord:
        """Train for one epoch, validate the averaged weights and keep them if they are best."""
        rng = np.random.default_rng([self.config.seed, 2, self.epoch])
        self.model.train()
        with torch_threads(self.config.threads):
            losses = [self._step(*batch) for batch in self._batches(rng)]
            logits, label = self.validation_answers(self.average)
        loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(label)).item()
        record = EpochRecord(self.epoch, float(np.mean(losses)), loss, self.learning_rate())
        self.history.append(record)
        if self.best_epoch == record.epoch:
            self.best = copy.deepcopy(self.average.state_dict())
        return record

    def learning_rate(self, step: int = 0) -> float:
        """Return the one-cycle rate (arXiv 1708.07120) at a step of the current epoch."""
        done = (self.epoch * self.steps + step) / (self.config.epochs * self.steps)
        if done < self.config.warm_up:
            return self.config.lr * _cosine(1 / 25, 1.0, done / self.config.warm_up)
        after = (done - self.config.warm_up) / (1 - self.config.warm_up)
        return self.config.lr * _cosine(1.0, 1e-4, after)

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[int, ModelInputs, Tensor]]:
        views, trigger = alert_views(self.curves, rng, self.config.augmentation)
        lengths = np.minimum(n_usable(views, trigger), LENGTH_BUCKETS[-1])
        for step, rows in enumerate(np.array_split(rng.permutation(len(views)), self.steps)):
            longest = max(1, int(lengths[rows].max()))
            inputs = model_inputs(views, trigger, rows, (longest,))[0]
            yield step, inputs, self.label[torch.from_numpy(inputs.rows)]

    def _step(self, step: int, inputs: ModelInputs, label: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        loss = cross_entropy(self.model.logits(*input_tensors(inputs)), label)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        seen = self.epoch * self.steps + step
        # The average forgets the random start quickly.
        weight = 1 - min(self.config.averaging, (1 + seen) / (10 + seen))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, weight)
        return loss.item()

    def save(self, folder: Path) -> None:
        """Write the state after the last epoch to ``checkpoint.pt``, atomically."""
        state = {
            "config": _fingerprint(self.config),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "seconds": self.seconds,
            "history": [asdict(record) for record in self.history],
        }
        content = io.BytesIO()
        torch.save(state, content)
        replace(folder / CHECKPOINT_NAME, content.getvalue())

    def resume(self, folder: Path) -> None:
        """Take up the state in ``checkpoint.pt``; `ConfigurationError` if it is of another run."""
        path = folder / CHECKPOINT_NAME
        state: dict[str, Any] = torch.load(path, weights_only=True)
        if state["config"] != _fingerprint(self.config):
            raise ConfigurationError(
                f"{path} was made with another configuration: train without --resume", path
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.best = state["best"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.seconds = state["seconds"]
        self.history = [EpochRecord(**record) for record in state["history"]]


def validation_views(curves: LightCurves, seed: int) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return each curve twice, as at its last and at a random detection, and the triggers.

    Nothing else is changed: these are the alerts that every choice is made on.
    """
    rng = np.random.default_rng([seed, 3])
    twice = curves.take(np.tile(np.arange(len(curves)), 2))
    trigger = np.concatenate([at_last_detection(curves), random_detection(curves, rng)])
    return twice, trigger


def _new_model(config: TrainConfig, curves: LightCurves, n_classes: int) -> Tiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Tiny(
            TinyConfig(n_classes, config.width, config.latents, config.heads, config.latent_blocks)
        )
    rng = np.random.default_rng([config.seed, 4])
    model.standardise(model_inputs(*alert_views(curves, rng, config.augmentation)))
    return model


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _fingerprint(config: TrainConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)
