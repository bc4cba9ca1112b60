"""Synthetic series in the form of the UEA archive: classes that amplitude and shape tell apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BANDS, STEPS = 6, 36


def series(
    rng: np.random.Generator, label: npt.NDArray[np.int64], middle: float | None = None
) -> npt.NDArray[np.float32]:
    """Return series [n, 6, 36]: 0 bright waves, 1 blue faint flares, 2 red bright flares."""
    n = len(label)
    step = np.arange(STEPS)
    at = rng.uniform(12, 24, (n, 1, 1)) if middle is None else np.full((n, 1, 1), middle)
    flare = np.exp(-0.5 * ((step - at) / 2.5) ** 2)
    wave = np.sin(step * rng.uniform(0.8, 1.5, (n, 1, 1)) + rng.uniform(0, 6, (n, 1, 1)))
    ramp = np.linspace(0, 1, BANDS)[:, None]
    signal = np.select(
        [label[:, None, None] == 0, label[:, None, None] == 1],
        [400 * wave, 40 * flare * (1.2 - ramp)],
        300 * flare * (0.2 + ramp),
    )
    return np.asarray(signal + rng.normal(0, 3, (n, BANDS, STEPS)), np.float32)
