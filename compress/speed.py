"""How fast models are in the serving runtime, side by side.

One thread, the session settings of `models.bundle`, and by turns: a time on its own means
little on a shared machine, the ratio of two that were taken together does.

Notation: B curves per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from models.features import LENGTH_BUCKETS
from models.lightcurve import BANDS, DETECTION, LightCurves
from models.runtime import OnnxClassifier, load_classifier
from models.timing import Seconds, Task, interleave

__all__ = ["BATCHES", "Speed", "speeds"]

BATCHES: Final = (1, 64)
"""Curves per call: one for the latency, many for the throughput."""
_ALERTS_PER_TASK: Final = {1: 40, 64: 192}
"""Enough for the clock to tell."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The time that a model takes for curves of one length, beside the first model's."""

    length: int
    """Observations per curve."""
    batch: int
    us_per_alert: float
    """Of the network alone, in the median of the rounds."""
    ratio: float
    """How many times faster than the first model, in the median of the rounds."""
    ratio_low: float
    ratio_high: float
    """Quartiles of the rounds."""
    us_with_features: float
    """From light curves to probabilities."""
    ratio_with_features: float


def speeds(
    models: Mapping[str, Path],
    rounds: int = 15,
    lengths: tuple[int, ...] = LENGTH_BUCKETS,
    console: Console | None = None,
) -> dict[str, list[Speed]]:
    """Time all models on the same curves, for each length and batch; the first is the measure.

    A model with features of its own, as the grid of a Gaussian process, makes them of the
    same curves.
    """
    loaded = {name: load_classifier(path) for name, path in models.items()}
    found: dict[str, list[Speed]] = {name: [] for name in models}
    with Progress(console=console or Console(stderr=True)) as progress:
        for length in lengths:
            for batch in BATCHES:
                label = f"{length} observations, {batch} per call"
                tasks = _tasks(loaded, length, batch)
                taken = interleave(tasks, rounds, progress, label)
                for name in models:
                    found[name].append(_speed(taken, name, next(iter(models)), length, batch))
    return found


def _speed(taken: Mapping[str, Seconds], name: str, first: str, length: int, batch: int) -> Speed:
    network, everything = taken[f"network {name}"], taken[f"all {name}"]
    low, median, high = np.percentile(taken[f"network {first}"] / network, (25, 50, 75)).tolist()
    return Speed(
        length=length,
        batch=batch,
        us_per_alert=float(np.median(network)) * 1e6,
        ratio=median,
        ratio_low=low,
        ratio_high=high,
        us_with_features=float(np.median(everything)) * 1e6,
        ratio_with_features=float(np.median(taken[f"all {first}"] / everything)),
    )


def _tasks(models: Mapping[str, OnnxClassifier], length: int, batch: int) -> dict[str, Task]:
    curves, trigger = _curves(length, batch)
    calls = range(_ALERTS_PER_TASK[batch] // batch)
    tasks = {}
    for name, model in models.items():
        inputs = model.bundle.features.batch(curves, trigger, np.arange(batch))
        tasks[f"network {name}"] = Task(
            lambda model=model, inputs=inputs: [model.run(inputs) for _ in calls],  # type: ignore[misc]
            batch * len(calls),
        )
        tasks[f"all {name}"] = Task(
            lambda model=model: [model.predict(curves, trigger) for _ in calls],  # type: ignore[misc]
            batch * len(calls),
        )
    return tasks


def _curves(length: int, n: int) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return n made-up curves of LSST of one length, rising and falling, and their last times."""
    rng = np.random.default_rng(length)
    bands = [i for i, band in enumerate(BANDS) if band.survey == "lsst"]
    mjd = 60000 + np.sort(rng.uniform(-30, 120, (n, length)), axis=1)
    age = mjd - 60000
    flux = 1e4 * np.where(age < 0, np.exp(age / 6), np.exp(-np.abs(age) / 30))
    curves = LightCurves.from_observations(
        curve=np.repeat(np.arange(n), length),
        mjd=mjd.ravel(),
        band=rng.choice(np.array(bands, np.uint8), n * length),
        flux=(flux + rng.normal(0, 300, flux.shape)).ravel().astype(np.float32),
        flux_err=np.full(n * length, 300, np.float32),
        rank=np.full(n * length, DETECTION, np.uint8),
        n_curves=n,
    )
    return curves, mjd[:, -1]
