"""Calibrate probabilities with one temperature (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["fit_temperature", "softmax"]

_RANGE: Final = (0.05, 20.0)


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] of logits [n, K] at a temperature, in float64."""
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / total)


def fit_temperature(logits: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the lowest log-loss of logits [n, K] for labels [n].

    The log-loss is convex in 1 / temperature: bisection finds where its slope
    vanishes. The answer stays within 0.05 .. 20.
    """
    own = logits[np.arange(len(label)), label].astype(np.float64)
    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    for _ in range(60):
        middle = (low + high) / 2
        expected = (softmax(logits, 1 / middle) * logits).sum(axis=1)
        if np.mean(expected - own) < 0:
            low = middle
        else:
            high = middle
    return 2 / (low + high)
