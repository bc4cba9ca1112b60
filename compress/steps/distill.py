"""A new, smaller network learns what the teacher answers (arXiv 1503.02531, 1908.08962)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from compress.retraining import RetrainingRecipe
from compress.steps.step import Context
from compress.student import Student
from models.networks import build
from models.recipe import NetworkRecipe

__all__ = ["Distill", "fresh"]

_SIZES: Final = ("width", "latents", "heads", "latent_blocks", "head_size", "feed_forward")
_STANDARDISED_ON: Final = 20_000
"""Views that the constants of the channels are fitted to."""


class Distill(RetrainingRecipe):
    """Sizes of the new network, and its training."""

    kind: Literal["distill"] = "distill"
    epochs: Annotated[int, Field(ge=0)] = 40
    width: Annotated[int, Field(ge=1)] = 32
    latents: Annotated[int, Field(ge=1)] = 8
    heads: Annotated[int, Field(ge=1)] = 4
    latent_blocks: Annotated[int, Field(ge=0)] = 1
    head_size: Annotated[int, Field(ge=1)] | None = None
    feed_forward: Annotated[int, Field(ge=1)] | None = None

    def apply(self, student: Student, context: Context) -> Student:
        """Return the new network; of the student before nothing is used."""
        recipe = NetworkRecipe(kind="tiny", **{name: getattr(self, name) for name in _SIZES})
        network = build(recipe, len(context.classes), context.rejects, context.seed)
        return context.retrained(fresh(Student(network), context), self)


def fresh(student: Student, context: Context) -> Student:
    """Fit the constants that scale an untrained network's channels; return the student."""
    transfer = context.transfer
    rows = np.random.default_rng([context.seed, 4]).permutation(len(transfer.label))
    rows = rows[:_STANDARDISED_ON]
    student.network.standardise(
        transfer.features.inputs(transfer.curves.take(rows), transfer.trigger_mjd[rows])
    )
    return student
