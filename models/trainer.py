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

from models.augment import alert_views
from models.bundle import load_bundle
from models.errors import ConfigurationError
from models.export import MODEL_NAME, replace
from models.feature_sets import FeatureSet, Inputs
from models.features import LENGTH_BUCKETS, n_usable
from models.lightcurve import LightCurves
from models.networks import batch_tensors, build, features_of
from models.optimiser import SORTED_BATCHES, Averaged, batches_of_a_length, torch_threads
from models.recipe import Recipe
from models.split import Parts
from models.t2 import T2
from models.tiny import Tiny
from models.validation import ValidationAlerts

__all__ = ["CHECKPOINT_NAME", "EpochRecord", "Trainer", "trained_before"]

CHECKPOINT_NAME: Final = "checkpoint.pt"
_ARTEFACT: Final = -1
"""Label of a curve that is of no class."""
_STANDARDISED_ON: Final = 20_000
"""Views that the constants of the channels are fitted to."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One row of the metrics log. Losses are log-losses in nats."""

    epoch: int
    train_loss: float
    validation_log_loss: float
    learning_rate: float


class Trainer:
    """A training run that can be stopped after any epoch and taken up again.

    With ``start``, the folder of an earlier run, it begins with the weights of its best epoch;
    `ConfigurationError` when these are of other classes or of another network.
    """

    def __init__(self, parts: Parts, recipe: Recipe, start: Path | None = None) -> None:
        self.recipe = recipe
        self.parts = parts
        self.seconds = 0.0
        """Wall time spent in epochs."""
        self.features: FeatureSet = features_of(recipe.network)
        self._device = _device(recipe.training.device)
        self.pool = _Pool(parts, recipe)
        self.steps = math.ceil(self.pool.size / recipe.training.batch)
        self.validation = ValidationAlerts(parts.validation, self.features, recipe.data.split_seed)
        self.class_weight = _class_weight(parts.train.label, recipe, len(parts.train.classes))
        network = self._new_model() if start is None else self._started_from(start)
        self.templates = nn.Linear(network.head.in_features, len(parts.train.groups))
        """Second last layer, which tells templates apart; no part of the model."""
        nn.init.zeros_(self.templates.weight)
        nn.init.zeros_(self.templates.bias)
        self.templates.to(self._device)
        self.averaged = Averaged(
            network.to(self._device), recipe.training, self.steps, self.templates
        )
        self.best = copy.deepcopy(self.averaged.model.state_dict())
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
        # An epoch that diverged has none.
        return int(np.argmin(np.nan_to_num(losses, nan=np.inf))) if losses else 0

    def best_model(self) -> Tiny | T2:
        """Return the model of the best epoch, on the CPU."""
        model = copy.deepcopy(self.averaged.average)
        model.load_state_dict(self.best)
        return model.eval().cpu()

    def run_epoch(self) -> EpochRecord:
        """Train for one epoch, validate the averaged weights and keep them if they are best."""
        training = self.recipe.training
        rng = np.random.default_rng([training.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**31)))  # dropout of t2
        self.averaged.model.train()
        with torch_threads(training.threads):
            losses = [
                self._step(step, inputs, rows)
                for step, (inputs, rows) in enumerate(self._batches(rng))
            ]
            logits, _ = self.validation.scores(self.averaged.average)
        weight = self.class_weight.cpu() if training.flat else None
        label = torch.from_numpy(self.validation.label)
        loss = cross_entropy(torch.from_numpy(logits), label, weight).item()
        rate = self.averaged.rate(self.epoch * self.steps)
        record = EpochRecord(self.epoch, float(np.mean(losses)), loss, rate)
        self.history.append(record)
        if self.best_epoch == record.epoch:
            self.best = copy.deepcopy(self.averaged.average.state_dict())
        return record

    def _built(self) -> Tiny | T2:
        n_classes, rejects = len(self.parts.train.classes), bool(self.parts.artefacts)
        return build(self.recipe.network, n_classes, rejects, self.recipe.training.seed)

    def _started_from(self, folder: Path) -> Tiny | T2:
        path, classes = folder / MODEL_NAME, self.parts.train.classes
        known = tuple(known.name for known in load_bundle(path).manifest.classes)
        if known != classes:
            raise ConfigurationError(
                f"{path} knows the classes {', '.join(known)}, the data has "
                f"{', '.join(classes)}: train without start",
                folder,
            )
        network = self._built()
        try:
            network.load_state_dict(trained_before(folder, len(classes))[0].state_dict())
        except RuntimeError as error:
            raise ConfigurationError(
                f"the network in {folder} is not that of the recipe: copy [network], and whether "
                "there are artefacts, from the card there",
                folder,
            ) from error
        return network

    def _new_model(self) -> Tiny | T2:
        network = self._built()
        rng = np.random.default_rng([self.recipe.training.seed, 4])
        curves = self.parts.train.curves
        some = curves.take(rng.permutation(len(curves))[:_STANDARDISED_ON])
        views, trigger = alert_views(some, rng, self.recipe.augmentation)
        network.standardise(self.features.inputs(views, trigger))
        return network

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Inputs, npt.NDArray[np.int64]]]:
        """Yield the batches of an epoch and the rows of the pool, [B], that they show."""
        batch = self.recipe.training.batch
        order = self.pool.draw(rng)
        for start in range(0, len(order), batch * SORTED_BATCHES):
            rows = order[start : start + batch * SORTED_BATCHES]
            views, trigger = alert_views(self.pool.curves.take(rows), rng, self.recipe.augmentation)
            lengths = np.minimum(n_usable(views, trigger), LENGTH_BUCKETS[-1])
            for some in batches_of_a_length(lengths, batch, rng):
                inputs = self.features.batch(views, trigger, some)
                yield inputs, rows[inputs.rows]

    def _step(self, step: int, inputs: Inputs, rows: npt.NDArray[np.int64]) -> float:
        label, template = (
            torch.from_numpy(of[rows]).to(self._device)
            for of in (self.pool.label, self.pool.template)
        )
        model = self.averaged.model
        pooled = model.pooled(*batch_tensors(inputs, self._device))
        loss = self._loss(*model.judged(pooled), label)
        if weight := self.recipe.training.templates:
            told = self.templates(pooled)
            loss = loss + weight * cross_entropy(told, template, ignore_index=_ARTEFACT)
        return self.averaged.step(self.epoch * self.steps + step, loss)

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
            "recipe": self.recipe.model_dump_json(),
            **self.averaged.state(),
            "best": self.best,
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
        if _named_as(self.recipe, state["recipe"]) != self.recipe:
            raise ConfigurationError(
                f"{path} was made with another recipe: train without --resume", path
            )
        try:
            self.averaged.restore(state)
        except (KeyError, RuntimeError) as error:
            raise ConfigurationError(
                f"{path} was made by another version of tinyt2: train without --resume", path
            ) from error
        self.best = state["best"]
        self.seconds = state["seconds"]
        self.history = [EpochRecord(**record) for record in state["history"]]


def trained_before(folder: Path, n_classes: int) -> tuple[Tiny | T2, Recipe]:
    """Return the best network of a run in a folder, and its recipe without section ``model``.

    `ConfigurationError` when there is no checkpoint, or one that is damaged or of other classes.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        raise ConfigurationError(f"no {CHECKPOINT_NAME} in {folder}: train there first", folder)
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # zip, pickle and torch each raise their own
        raise ConfigurationError(f"{path} is damaged: train there again ({error})", path) from error
    recipe = _named_as(Recipe(), state["recipe"])
    rejects = len(state["best"]["head.bias"]) > n_classes
    network = build(recipe.network, n_classes, rejects, recipe.training.seed)
    try:
        network.load_state_dict(state["best"])
    except RuntimeError as error:
        raise ConfigurationError(
            f"the network in {folder} does not have {n_classes} classes: it was trained on other "
            "[data]",
            folder,
        ) from error
    return network.eval(), recipe


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


def _named_as(recipe: Recipe, text: str) -> Recipe:
    """Return the recipe in a checkpoint under the name of another: a name changes no weight."""
    return Recipe.model_validate_json(text).model_copy(update={"model": recipe.model})
