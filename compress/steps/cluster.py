"""Let the weights of a tensor share a few values: k-means, fine-tuned (arXiv 1510.00149)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from compress.retraining import RetrainingRecipe
from compress.rounding import Scheme
from compress.steps.step import Context
from compress.student import Student, matrices
from models.errors import ConfigurationError

__all__ = ["Cluster"]


class Cluster(RetrainingRecipe):
    """Which matrices are clustered, and the training that makes up for it."""

    kind: Literal["cluster"] = "cluster"
    bits: Literal[4, 8] = 4
    """Of an index: up to 16 or 256 values, each kept for eight weights or more."""
    tensors: list[str] = Field(default=["*"])
    """Patterns of the matrices' names."""

    def apply(self, student: Student, context: Context) -> Student:
        """Return the student with clustered matrices; other tensors stay as they are stored."""
        scheme: Scheme = "uint4" if self.bits == 4 else "uint8"
        found = [
            name
            for name, _ in matrices(student.network)
            if any(fnmatchcase(name, pattern) for pattern in self.tensors)
        ]
        if not found:
            raise ConfigurationError(f"no matrix is called {self.tensors}", self.tensors)
        stored: dict[str, Scheme] = {**student.stored, **dict.fromkeys(found, scheme)}
        return context.retrained(Student(student.network, stored, student.masks), self)
