"""Divide labelled light curves into parts to train, to choose and to test on.

A classifier can learn the templates that a simulation is made from instead of
the classes. So a set can be divided by template: then the validation part, on
which every choice is made, has templates that are never trained on, and so has
one test part; the other test part has other objects of the templates that were
trained on. Comparing the two shows what an unknown template costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from models.datasets.labelled import LabelledCurves
from models.lightcurve import LightCurves
from models.recipe import DataRecipe

__all__ = ["Parts", "divide"]

_FEWEST_TEMPLATES: Final = 4
"""Classes with fewer templates are divided by object: one template is too much of them."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a data set. No object is in two of them."""

    train: LabelledCurves
    validation: LabelledCurves
    tests: Mapping[str, LabelledCurves]
    """Parts that nothing is fitted to or chosen on, by what is held out: ``objects`` of
    templates that are trained on, or whole ``templates``."""
    held_out: tuple[str, ...] = ()
    """Names of the templates that are never trained on."""
    artefacts: Mapping[str, LightCurves] = field(default_factory=dict)
    """Curves of no astrophysical object, by part (``train``, ``validation``, ``test``)."""


def divide(data: LabelledCurves, how: DataRecipe) -> Parts:
    """Divide a data set, each class on its own so that every part has every class."""
    rng = np.random.default_rng([how.split_seed, 1])
    rows: dict[str, list[Rows]] = {}
    held_out: list[int] = []
    for k in range(len(data.classes)):
        for name, some in _divide_class(np.flatnonzero(data.label == k), data, how, rng).items():
            rows.setdefault(name, []).append(some)
            if name in ("templates", "validation"):
                held_out += np.unique(data.group[some]).tolist()
    parts = {name: data.take(np.sort(np.concatenate(some))) for name, some in rows.items()}
    trained = set(parts["train"].group.tolist())
    train, validation = parts.pop("train"), parts.pop("validation")
    names = sorted({data.groups[g] for g in held_out if g not in trained})
    return Parts(train, validation, parts, tuple(names))


def _divide_class(
    rows: Rows, data: LabelledCurves, how: DataRecipe, rng: np.random.Generator
) -> dict[str, Rows]:
    if how.split == "object":
        validation, test, train = _by_object(rows, (how.validation, how.test), rng)
        return {"train": train, "validation": validation, "objects": test}
    # Test templates are drawn first: what is validated on does not change what is tested on.
    templates, rest = _by_template(rows, data.group, how.test, len(rows), rng)
    validation, rest = _by_template(rest, data.group, how.validation, len(rows), rng)
    objects, train = _by_object(rest, (how.test,), rng)
    return {"train": train, "validation": validation, "objects": objects, "templates": templates}


def _by_object(rows: Rows, fractions: tuple[float, ...], rng: np.random.Generator) -> list[Rows]:
    """Return random parts of the given fractions, and the rest."""
    shuffled = rng.permutation(rows)
    ends = np.round(np.cumsum(fractions) * len(rows)).astype(int)
    return np.split(shuffled, ends)


def _by_template(
    rows: Rows, group: npt.NDArray[np.int64], fraction: float, total: int, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Return the rows of whole templates, about ``fraction`` of the ``total``, and the rest.

    Templates that would exceed it by more than a quarter are skipped; if all do, the
    smallest is taken. A class of few templates is divided by object.
    """
    templates, counts = np.unique(group[rows], return_counts=True)
    if len(templates) < _FEWEST_TEMPLATES:
        part, rest = _by_object(rows, (fraction,), rng)
        return part, rest
    target = fraction * total
    chosen: list[int] = []
    taken = 0
    for i in rng.permutation(len(templates)).tolist():
        if taken < target and taken + counts[i] <= 1.25 * target:
            chosen.append(i)
            taken += int(counts[i])
    held = np.isin(group[rows], templates[chosen or [int(np.argmin(counts))]])
    return rows[held], rows[~held]
