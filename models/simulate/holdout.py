"""Which templates make the training, validation and test parts of a simulation."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.simulate.source import Population

__all__ = ["PARTS", "groups_of_part"]

PARTS: Final[dict[str, float]] = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Part -> its share of the templates of a class, by weight."""

_FEWEST_GROUPS: Final = 4
"""Classes with fewer groups are the same in all parts and differ in their random numbers."""


def groups_of_part(population: Population, part: str, seed: int) -> npt.NDArray[np.int64]:
    """Return the groups of a part, in increasing order; those of the parts are disjoint.

    Templates are dealt in an order that depends on the seed and the class alone; every
    part gets at least one. Classes with fewer than four groups are not divided.
    `ConfigurationError` for an unknown part.
    """
    if part not in PARTS:
        raise ConfigurationError(f"no part {part!r}; known: {', '.join(PARTS)}", part)
    n = len(population.groups)
    if n < _FEWEST_GROUPS:
        return np.arange(n)
    rng = np.random.default_rng([seed, zlib.crc32(population.name.encode())])
    order = rng.permutation(n)
    return np.sort(order[_deal(population.weights[order]) == list(PARTS).index(part)])


def _deal(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the part of each group: always the one that lacks most of its share."""
    target = np.array(list(PARTS.values())) * weights.sum()
    part = np.zeros(len(weights), np.int64)
    for i, weight in enumerate(weights):
        # The last groups go to parts that have none yet.
        empty = [k for k in range(len(target)) if not (part[:i] == k).any()]
        remaining = len(weights) - i
        choices = empty if len(empty) >= remaining else list(range(len(target)))
        part[i] = max(choices, key=lambda k: target[k])
        target[part[i]] -= weight
    return part
