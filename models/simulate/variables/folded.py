"""Periodic variables from folded light curves: templates on one grid of phases.

Notation: n sources, m evaluations, G templates, N steps of phase.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["STEPS", "folded", "on_grid"]

STEPS: Final = 128
"""Steps of phase of every template."""


def on_grid(
    phase: npt.NDArray[np.floating], value: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Return a folded curve on `STEPS` phases from 0, interpolated across phase 1, [N]."""
    order = np.argsort(phase)
    grid = np.arange(STEPS) / STEPS
    return np.interp(grid, phase[order], value[order], period=1.0).astype(np.float32)


def folded(
    templates: npt.NDArray[np.float32],
    row: npt.NDArray[np.int64],
    amplitude: npt.NDArray[np.float64],
    period_days: npt.NDArray[np.float64],
    phase: npt.NDArray[np.float64],
) -> Callable[
    [npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]],
    npt.NDArray[np.float64],
]:
    """Return the change in magnitudes of sources as templates repeat.

    ``templates`` [G, rows of BANDS, N] in units of ``amplitude`` [n, rows of BANDS]; ``row``
    [n] of the template; ``phase`` [n] at day 0.
    """

    def change(
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        place = (days / period_days[source] + phase[source]) % 1.0 * STEPS
        step = np.minimum(place.astype(np.int64), STEPS - 1)  # rounding may give phase 1
        template = row[source]
        value = templates[template, band, step]
        after = templates[template, band, (step + 1) % STEPS]
        value = value + (place - step) * (after - value)
        return np.asarray(amplitude[source, band] * value)

    return change
