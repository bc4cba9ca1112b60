"""What a step is: a recipe that can be applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from compress.retraining import Progress, RetrainingRecipe, retrained
from compress.student import Student
from compress.transfer import TransferSet
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["Context", "Step"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use beside the student."""

    transfer: TransferSet
    classes: tuple[str, ...]
    rejects: bool
    """The teacher has an output for what is of no class: students get one too."""
    seed: int
    """Of this step."""
    progress: Progress = lambda text: None

    def retrained(
        self,
        student: Student,
        how: RetrainingRecipe,
        each_step: Callable[[Tiny | T2, int, int], None] = lambda network, step, total: None,
    ) -> Student:
        """Train a student on the transfer set (`compress.retraining`)."""
        return retrained(
            student, self.transfer, how, self.classes, self.seed, self.progress, each_step
        )


class Step(Protocol):
    """A step of a chain."""

    @property
    def kind(self) -> str:
        """Return its name in recipes."""
        ...

    @property
    def total_epochs(self) -> int:
        """Return how often it goes over the curves."""
        ...

    def apply(self, student: Student, context: Context) -> Student:
        """Return what the step makes of a student, which stays as it is.

        The same student, context and seed give the same weights. `ConfigurationError` for a
        student that the step cannot work on.
        """
        ...
