"""Divide labelled light curves into training, validation and test parts.

A classifier can learn the templates that a simulation is made from instead of
the classes. So the validation part holds whole templates that are never trained
on, and every choice is made on it; the test part holds other objects of the
templates that were trained on, and nothing is chosen on it. Comparing the two
shows what an unknown template costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.datasets.labelled import LabelledCurves

__all__ = ["Split", "split_by_template"]

_FEWEST_TEMPLATES: Final = 4
"""Classes with fewer templates are validated by object: one template is too much of them."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of the three parts of a data set, each in increasing order."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    held_out: tuple[str, ...]
    """Names of the templates that only validation has."""


def split_by_template(
    data: LabelledCurves, seed: int, validation: float = 0.2, test: float = 0.15
) -> Split:
    """Choose the parts, each class on its own so that all parts have all classes.

    Of each class about the fraction ``validation`` of the objects is held out in
    whole templates, or by object where the class has fewer than four templates;
    of the rest the fraction ``test`` by object.
    """
    rng = np.random.default_rng([seed, 1])
    parts: dict[str, list[npt.NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    held_out: list[str] = []
    for k in range(len(data.classes)):
        rows = np.flatnonzero(data.label == k)
        templates = _hold_out(data.group[rows], validation, rng)
        held_out += [data.groups[t] for t in templates]
        chosen = np.isin(data.group[rows], templates)
        if not len(templates):
            chosen = _fraction(len(rows), validation, rng)
        rest = rows[~chosen]
        tested = _fraction(len(rest), test, rng)
        parts["validation"].append(rows[chosen])
        parts["test"].append(rest[tested])
        parts["train"].append(rest[~tested])
    joined = {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}
    return Split(**joined, held_out=tuple(sorted(held_out)))


def _hold_out(
    group: npt.NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw templates, skipping those that would exceed the fraction by more than a quarter."""
    templates, counts = np.unique(group, return_counts=True)
    if len(templates) < _FEWEST_TEMPLATES:
        return templates[:0]
    target = fraction * len(group)
    chosen: list[int] = []
    total = 0
    for i in rng.permutation(len(templates)):
        if total < target and total + counts[i] <= 1.25 * target:
            chosen.append(i)
            total += int(counts[i])
    return templates[chosen or [int(np.argmin(counts))]]


def _fraction(n: int, fraction: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(n, np.bool_)
    chosen[rng.permutation(n)[: round(fraction * n)]] = True
    return chosen
