"""Calibrate probabilities: one temperature, and the mix of classes that is expected.

The temperature is that of Guo et al. 2017 (arXiv 1706.04599), the shift to another
mix of classes and its estimate those of Saerens, Latinne & Decaestecker 2002
(Neural Computation 14, 21).

Notation: n alerts, K classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError

__all__ = ["estimate_mix", "fit_temperature", "prior_shift", "softmax"]

_RANGE: Final = (0.05, 20.0)
_MIX_TOLERANCE: Final = 1e-6


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


def prior_shift(
    probabilities: npt.NDArray[np.floating],
    trained_mix: npt.NDArray[np.floating],
    stated_mix: npt.NDArray[np.floating],
) -> npt.NDArray[np.float64]:
    """Return probabilities [n, K] as they are where classes have another mix (equation 2.4).

    Both mixes [K] are fractions of the classes; they are scaled to sum to 1.
    A class that does not occur gets probability 0; an alert that only such
    classes explain keeps what it has. `ConfigurationError` for mixes that are
    none, and for training mixes that lack a class.
    """
    k = probabilities.shape[1]
    trained, stated = _mix(trained_mix, k, "trained"), _mix(stated_mix, k, "stated")
    if (trained == 0).any():
        raise ConfigurationError("the trained mix must have every class", trained_mix)
    shifted = probabilities.astype(np.float64) * (stated / trained)
    total = shifted.sum(axis=1, keepdims=True)
    return np.where(total > 0, shifted / np.where(total > 0, total, 1.0), probabilities)


def estimate_mix(
    probabilities: npt.NDArray[np.floating],
    trained_mix: npt.NDArray[np.floating],
    iterations: int = 500,
) -> npt.NDArray[np.float64]:
    """Return the mix of classes [K] in which alerts of unknown class are likeliest.

    Expectation maximisation over probabilities [n, K] of a calibrated model that
    was trained on ``trained_mix`` [K], from that mix on, until no fraction moves
    by 1e-6.
    """
    mix = _mix(trained_mix, probabilities.shape[1], "trained")
    for _ in range(iterations):
        renewed = prior_shift(probabilities, trained_mix, mix).mean(axis=0)
        moved = float(np.abs(renewed - mix).max())
        mix = renewed
        if moved < _MIX_TOLERANCE:
            break
    return mix


def _mix(mix: npt.NDArray[np.floating], k: int, name: str) -> npt.NDArray[np.float64]:
    values = np.asarray(mix, np.float64)
    sound = values.shape == (k,) and np.isfinite(values).all() and (values >= 0).all()
    if not sound or values.sum() == 0:
        raise ConfigurationError(
            f"the {name} mix must be {k} fractions, none below 0 and not all 0", mix
        )
    return np.asarray(values / values.sum())
