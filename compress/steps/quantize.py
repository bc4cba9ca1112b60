"""Round the weights to what the file will store of them, and train them so.

After `compress.rounding`: int8 with a scale per output channel, or a codebook of 4 or 8 bits
per tensor, with the distillation loss (arXiv 1802.05668).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.retraining import RetrainingRecipe
from compress.rounding import Scheme
from compress.steps.step import Context
from compress.student import Student, schemes

__all__ = ["Quantize"]


class Quantize(RetrainingRecipe):
    """How tensors are stored, and the training that makes up for it."""

    kind: Literal["quantize"] = "quantize"
    weights: Scheme = "int8"
    """Of matrices."""
    small: Literal["float32", "float16"] = "float16"
    """Of vectors: biases and norms."""
    tensors: dict[str, Scheme] = Field(default_factory=dict)
    """Of the parameters that a pattern matches, as ``"head.weight" = "uint4"``."""

    def apply(self, student: Student, context: Context) -> Student:
        """Return the student with weights that are rounded, for good."""
        stored = schemes(student.network, self.weights, self.small, self.tensors)
        return context.retrained(Student(student.network, stored, student.masks), self)
