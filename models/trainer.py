"""The training loop: AdamW, one learning-rate cycle, averaged weights, exact resumption.

All randomness of epoch e comes from a generator seeded with (seed, e): a run
that was interrupted and resumed makes the same model as one that was not, and
the same seed makes the same bytes on the same machine.

Artefacts, curves of no astrophysical object, are trained on as such: their
probabilities shall be equal, and their out-of-distribution score high (outlier
exposure, arXiv 1812.04606). Templates are told apart beside the classes where a recipe says so.

Notation: B batch, K classes, v validation alerts.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    log_softmax,
    one_hot,
)

from models.augment import alert_views, as_alerts, at_last_detection, random_detection
from models.errors import ConfigurationError
from models.export import replace
from models.feature_sets import FeatureSet, Inputs
from models.features import LENGTH_BUCKETS, n_usable
from models.lightcurve import LightCurves
from models.networks import batch_tensors, build, curve_scores, features_of
from models.recipe import Recipe
from models.split import Parts
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["CHECKPOINT_NAME", "EpochRecord", "Trainer", "torch_threads", "views_of"]

CHECKPOINT_NAME: Final = "checkpoint.pt"
_ARTEFACT: Final = -1
"""Label of a curve that is of no class."""
_SORTED_BATCHES: Final = 16
"""Batches are made of curves of about one length, of so many batches at a time."""
_STANDARDISED_ON: Final = 20_000
"""Views that the constants of the channels are fitted to."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One row of the metrics log. Losses are log-losses in nats."""

    epoch: int
    train_loss: float
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


def views_of(
    curves: LightCurves, seed: int
) -> tuple[LightCurves, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return each curve as its alert at the last and at a random detection: what is judged on.

    The views, their triggers in days, and the row of the curve that each shows.
    """
    rng = np.random.default_rng([seed, 3])
    rows = np.tile(np.arange(len(curves)), 2)
    trigger = np.concatenate([at_last_detection(curves), random_detection(curves, rng)])
    return as_alerts(curves.take(rows), trigger, rng), trigger, rows


class Trainer:
    """A training run that can be stopped after any epoch and taken up again."""

    def __init__(self, parts: Parts, recipe: Recipe) -> None:
        self.recipe = recipe
        self.parts = parts
        self.seconds = 0.0
        """Wall time spent in epochs."""
        self.features: FeatureSet = features_of(recipe.network)
        self._device = _device(recipe.training.device)
        self.pool = _Pool(parts, recipe)
        self.steps = math.ceil(self.pool.size / recipe.training.batch)
        self.validation = views_of(parts.validation.curves, recipe.data.split_seed)
        self.class_weight = _class_weight(parts.train.label, recipe, len(parts.train.classes))
        self.model = self._new_model().to(self._device)
        self.average = copy.deepcopy(self.model)
        self.best = copy.deepcopy(self.model.state_dict())
        self.templates = nn.Linear(self.model.head.in_features, len(parts.train.groups))
        """Second last layer, which tells templates apart; no part of the model."""
        nn.init.zeros_(self.templates.weight)
        nn.init.zeros_(self.templates.bias)
        self.templates.to(self._device)
        self.optimiser = torch.optim.AdamW(
            [*self.model.parameters(), *self.templates.parameters()],
            recipe.training.lr,
            weight_decay=recipe.training.weight_decay,
            fused=True,
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
        training = self.recipe.training
        return self.epoch >= training.epochs or since >= training.patience

    @property
    def best_epoch(self) -> int:
        """Return the epoch with the lowest validation log-loss."""
        losses = [record.validation_log_loss for record in self.history]
        return int(np.argmin(losses)) if losses else 0

    def best_model(self) -> Tiny | T2:
        """Return the model of the best epoch, on the CPU."""
        model = copy.deepcopy(self.average)
        model.load_state_dict(self.best)
        return model.eval().cpu()

    def validation_answers(
        self, model: Tiny | T2
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return logits [v, K], ``ood_score`` [v] and labels [v] of the validation alerts."""
        views, trigger, rows = self.validation
        logits, ood_score = curve_scores(model, self.features, views, trigger)
        return logits, ood_score, self.parts.validation.label[rows]

    def run_epoch(self) -> EpochRecord:
        """Train for one epoch, validate the averaged weights and keep them if they are best."""
        training = self.recipe.training
        rng = np.random.default_rng([training.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**31)))  # dropout of t2
        self.model.train()
        with torch_threads(training.threads):
            losses = [
                self._step(step, inputs, rows)
                for step, (inputs, rows) in enumerate(self._batches(rng))
            ]
            logits, _, label = self.validation_answers(self.average)
        weight = self.class_weight.cpu() if training.flat else None
        loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(label), weight).item()
        record = EpochRecord(self.epoch, float(np.mean(losses)), loss, self.learning_rate())
        self.history.append(record)
        if self.best_epoch == record.epoch:
            self.best = copy.deepcopy(self.average.state_dict())
        return record

    def learning_rate(self, step: int = 0) -> float:
        """Return the one-cycle rate (arXiv 1708.07120) at a step of the current epoch."""
        training = self.recipe.training
        done = (self.epoch * self.steps + step) / (training.epochs * self.steps)
        if done < training.warm_up:
            return training.lr * _cosine(1 / 25, 1.0, done / training.warm_up)
        return training.lr * _cosine(1.0, 1e-4, (done - training.warm_up) / (1 - training.warm_up))

    def _new_model(self) -> Tiny | T2:
        training = self.recipe.training
        network = build(
            self.recipe.network,
            len(self.parts.train.classes),
            bool(self.parts.artefacts),
            training.seed,
        )
        rng = np.random.default_rng([training.seed, 4])
        curves = self.parts.train.curves
        some = curves.take(rng.permutation(len(curves))[:_STANDARDISED_ON])
        views, trigger = alert_views(some, rng, self.recipe.augmentation)
        network.standardise(self.features.inputs(views, trigger))
        return network

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Inputs, npt.NDArray[np.int64]]]:
        """Yield the batches of an epoch and the rows of the pool, [B], that they show."""
        batch = self.recipe.training.batch
        order = self.pool.draw(rng)
        for start in range(0, len(order), batch * _SORTED_BATCHES):
            rows = order[start : start + batch * _SORTED_BATCHES]
            views, trigger = alert_views(self.pool.curves.take(rows), rng, self.recipe.augmentation)
            lengths = np.minimum(n_usable(views, trigger), LENGTH_BUCKETS[-1])
            by_length = np.argsort(lengths + rng.uniform(0, 8, len(rows)))
            batches = np.split(by_length, range(batch, len(rows), batch))
            for i in rng.permutation(len(batches)):
                inputs = self.features.batch(views, trigger, batches[i])
                yield inputs, rows[inputs.rows]

    def _step(self, step: int, inputs: Inputs, rows: npt.NDArray[np.int64]) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        label, template = (
            torch.from_numpy(of[rows]).to(self._device)
            for of in (self.pool.label, self.pool.template)
        )
        pooled = self.model.pooled(*batch_tensors(inputs, self._device))
        loss = self._loss(*self.model.judged(pooled), label)
        if weight := self.recipe.training.templates:
            told = self.templates(pooled)
            loss = loss + weight * cross_entropy(told, template, ignore_index=_ARTEFACT)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        seen = self.epoch * self.steps + step
        # The average forgets the random start quickly.
        weight = 1 - min(self.recipe.training.averaging, (1 + seen) / (10 + seen))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, weight)
        return loss.item()

    def _loss(self, logits: Tensor, ood: Tensor, label: Tensor) -> Tensor:
        weight = self.class_weight if self.recipe.training.flat else None
        if not self.parts.artefacts:
            return cross_entropy(logits, label, weight)
        known = label != _ARTEFACT
        target = torch.full_like(logits, 1 / logits.shape[1])
        target[known] = one_hot(label[known], logits.shape[1]).to(logits.dtype)
        if weight is not None:
            target = target * torch.where(known, weight[label.clamp(min=0)], 1.0)[:, None]
        classes = -(target * log_softmax(logits, -1)).sum(-1).mean()
        return classes + binary_cross_entropy_with_logits(ood, (~known).to(ood.dtype))

    def save(self, folder: Path) -> None:
        """Write the state after the last epoch to ``checkpoint.pt``, atomically."""
        state = {
            "recipe": _fingerprint(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "templates": self.templates.state_dict(),
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
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=self._device)
        if state["recipe"] != _fingerprint(self.recipe):
            raise ConfigurationError(
                f"{path} was made with another recipe: train without --resume", path
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.best = state["best"]
        self.templates.load_state_dict(state["templates"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seconds = state["seconds"]
        self.history = [EpochRecord(**record) for record in state["history"]]


class _Pool:
    """All curves that are trained on, artefacts among them, and how they are drawn."""

    def __init__(self, parts: Parts, recipe: Recipe) -> None:
        self.curves, self.label = parts.train.curves, parts.train.label
        self.template = parts.train.group
        self._weight = _drawn(self.label, recipe.training.balance)
        if "train" in parts.artefacts:
            artefacts = parts.artefacts["train"]
            self.curves = LightCurves.concatenate([self.curves, artefacts])
            nothing = np.full(len(artefacts), _ARTEFACT)
            self.label = np.append(self.label, nothing)
            self.template = np.append(self.template, nothing)
            self._weight = np.append(self._weight, np.ones(len(artefacts)))
        self._balanced = recipe.training.balance > 0
        self.size = len(self.label)

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the rows of one epoch: each once, or by weight so that classes are balanced."""
        if not self._balanced:
            return rng.permutation(self.size)
        return rng.choice(self.size, self.size, p=self._weight / self._weight.sum())


def _drawn(label: npt.NDArray[np.int64], balance: float) -> npt.NDArray[np.float64]:
    """Return weights [n], 1 on average, that draw classes by (their count)^(1 - balance)."""
    weight = np.bincount(label)[label].astype(np.float64) ** -balance
    return np.asarray(weight / weight.mean())


def _class_weight(label: npt.NDArray[np.int64], recipe: Recipe, n_classes: int) -> Tensor:
    """Return weights [K], 1 on average over what is drawn, that make all classes count alike."""
    counts = np.bincount(label, weights=_drawn(label, recipe.training.balance), minlength=n_classes)
    weight = torch.from_numpy(counts.sum() / (n_classes * np.maximum(counts, 1.0))).float()
    return weight.to(_device(recipe.training.device))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("[training] device: no GPU that torch can use; say auto or cpu")
    return torch.device(name)


def _fingerprint(recipe: Recipe) -> str:
    """Return all of a recipe that changes what is learnt."""
    return recipe.model_dump_json(exclude={"model"})


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
