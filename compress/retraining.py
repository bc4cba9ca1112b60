"""Train a network on the transfer set: the teacher's answers, the labels, or both.

The loss is alpha T^2 KL(teacher || student) at temperature T (arXiv 1503.02531) plus
(1 - alpha) times the log-loss of the labels; the output that tells artefacts from objects
is distilled in the same way. Classes weigh alike, and rare ones more: what compression
forgets first are they (arXiv 1911.05248).

Notation: B batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot
from torch.nn.utils import parametrize

from compress.gates import GateRecipe
from compress.student import Student, baked, constrained
from compress.transfer import ARTEFACT, Lesson, TransferSet
from models.errors import ConfigurationError
from models.networks import batch_tensors
from models.optimiser import Averaged
from models.recipe import Fraction, OptimiserRecipe
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["Loss", "Progress", "RetrainingRecipe", "loss_of", "retrained"]

Progress = Callable[[str], None]
"""Told of each epoch that is done what to show."""


class RetrainingRecipe(OptimiserRecipe):
    """How a network is trained on the transfer set."""

    epochs: Annotated[int, Field(ge=0)] = 10
    weight_decay: Annotated[float, Field(ge=0)] = 0.005
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """At which the teacher's answers are softened."""
    alpha: Fraction = 0.8
    """Weight of the teacher's answers; the rest is that of the labels."""
    rare: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Classes that count more, and how much more: it holds their false negatives down."""
    gates: GateRecipe | None = None
    """After this step, instead of the recipe's [gates]."""

    @property
    def total_epochs(self) -> int:
        """Return how often the step goes over the curves."""
        return self.epochs


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a batch."""

    alpha: float
    temperature: float
    weight: Tensor
    """[K] of the classes."""
    rejects: bool
    """The network has an output for what is of no class."""

    def __call__(self, network: Tiny | T2, lesson: Lesson) -> Tensor:
        """Return the loss of a network on a lesson."""
        logits, ood = network.scores(*batch_tensors(lesson.inputs))
        known = lesson.label != ARTEFACT
        hard = torch.full_like(logits, 1 / logits.shape[1])
        hard[known] = one_hot(lesson.label[known], logits.shape[1]).to(logits.dtype)
        soft = torch.softmax(lesson.logits / self.temperature, -1)
        labels = -(hard * log_softmax(logits, -1)).sum(-1)
        # The cross-entropy with the teacher differs from the divergence by a constant.
        answers = -(soft * log_softmax(logits / self.temperature, -1)).sum(-1)
        weight = torch.where(known, self.weight[lesson.label.clamp(min=0)], 1.0)
        each = (1 - self.alpha) * labels + self.alpha * self.temperature**2 * answers
        loss = (weight * each).mean()
        if not self.rejects:
            return loss
        unknown = (~known).to(ood.dtype)
        told = self.alpha * torch.sigmoid(lesson.ood_score) + (1 - self.alpha) * unknown
        return loss + binary_cross_entropy_with_logits(ood, told)


def loss_of(
    how: RetrainingRecipe, network: Tiny | T2, transfer: TransferSet, classes: tuple[str, ...]
) -> Loss:
    """Return the loss that a recipe names."""
    if unknown := set(how.rare) - set(classes):
        raise ConfigurationError(f"rare: no class {', '.join(unknown)}", how.rare)
    raised = {classes.index(name): factor for name, factor in how.rare.items()}
    rejects = isinstance(network, Tiny) and network.config.rejects
    return Loss(how.alpha, how.temperature, transfer.class_weight(raised), rejects)


def retrained(
    student: Student,
    transfer: TransferSet,
    how: RetrainingRecipe,
    classes: tuple[str, ...],
    seed: int,
    progress: Progress = lambda text: None,
    each_step: Callable[[Tiny | T2, int, int], None] = lambda network, step, total: None,
) -> Student:
    """Train a student for the recipe's epochs, held to its precisions and zeros.

    The averaged weights of the last step are returned, whatever they are worth.
    ``each_step`` may change the network before any step, number and total given.
    """
    held = constrained(student)
    loss = loss_of(how, held, transfer, classes)
    if how.epochs == 0:
        return Student(baked(held), student.stored, student.masks)
    steps = math.ceil(transfer.n_curves / how.batch)
    averaged = Averaged(held, how, steps)
    torch.manual_seed(seed)  # dropout of t2
    held.train()
    for epoch in range(how.epochs):
        losses = []
        for i, lesson in enumerate(transfer.epoch(epoch, how.batch, seed)):
            step = epoch * steps + i
            each_step(held, step, how.epochs * steps)
            with parametrize.cached():
                value = loss(held, lesson)
            losses.append(averaged.step(step, value))
        progress(f"loss {np.mean(losses):.4f}")
    return Student(baked(averaged.average), student.stored, student.masks)
