"""From light curves to probabilities: ours against the paper's path.

Both sides take the same observations of the same real ZTF alerts; ours in
batches, the paper's alert by alert as published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from deploy.bench.alerts import Histories, longer, ztf_histories
from deploy.bench.measure import Result, rate, time_per_alert
from deploy.bench.paper import PaperPath, paper_curves
from models.feature_sets import ProcessGrid
from models.features import ModelInputs, model_inputs
from models.lightcurve import DETECTION, LightCurves, band_index
from models.runtime import OnnxClassifier, load_classifier
from models.timing import Seconds, Task, interleave

__all__ = ["features", "inference"]

_LENGTHENED: Final = 10
_ONE_BY_ONE: Final = "batch 1"
_INTERPOLATION: Final = "paper: Gaussian process"
_COMPLETE: Final = 90
"""Observations of a complete supernova, in the median of SPCC."""
_G_AND_R: Final = (band_index("ztf", "g"), band_index("ztf", "r"))
_PROCESS: Final = "paper: Gaussian process and scaling"
_NETWORK: Final = "paper: t2 in ONNX Runtime, batch 1, random weights"
_BATCHED: Final = "paper: t2 in ONNX Runtime, batch 8, random weights"
_PATH: Final = "paper: Gaussian process, scaling, t2 in ONNX Runtime"

Run = Callable[[Histories], object]


def features(progress: Progress, rounds: int, alerts: int, largest_batch: int) -> list[Result]:
    """Compute the tensors of batches of so many alerts, and of batches from 1 on."""
    with threadpool_limits(1):
        bench = _Bench(alerts)
        names = ("features", "grid", "grid_complete", "gp", "gp_complete", "scaling")
        taken = interleave(bench.tasks(names), rounds, progress, "features_ztf")
        return [
            time_per_alert(
                "features_ztf", taken["features"], _PROCESS, taken["gp"] + taken["scaling"]
            ),
            time_per_alert("gp_grid_ztf", taken["grid"], _INTERPOLATION, taken["gp"]),
            time_per_alert(
                f"gp_grid_{_COMPLETE}", taken["grid_complete"], _INTERPOLATION, taken["gp_complete"]
            ),
            *_paper_rows(taken, ("gp", "scaling")),
            *_scaling(progress, "features", _features, bench.histories, rounds, largest_batch),
        ]


def inference(progress: Progress, rounds: int, alerts: int, largest_batch: int) -> list[Result]:
    """Classify batches of so many alerts, and batches from 1 on."""
    with threadpool_limits(1):
        bench = _Bench(alerts)
        names = ("all", "onnx", "gp", "scaling", "network", "batched")
        taken = interleave(bench.tasks(names), rounds, progress, "features_inference_ztf")
        path = taken["gp"] + taken["scaling"] + taken["network"]
        classify = bench.classify
        return [
            time_per_alert("features_inference_ztf", taken["all"], _PATH, path),
            time_per_alert("inference_ztf", taken["onnx"], _NETWORK, taken["network"]),
            time_per_alert("inference_ztf_vs_batched", taken["onnx"], _BATCHED, taken["batched"]),
            *_paper_rows(taken, ("gp", "scaling", "network")),
            *_scaling(
                progress, "features_inference", classify, bench.histories, rounds, largest_batch
            ),
        ]


class _Bench:
    """The alerts, the deployed model and the paper's path."""

    def __init__(self, alerts: int) -> None:
        self._classifier: OnnxClassifier = load_classifier()
        self.histories = ztf_histories(self._classifier.bundle.manifest)
        self._batch = self.histories.repeated(alerts)
        self._curves = paper_curves(self.histories)
        self._path = PaperPath(self._curves)

    def classify(self, histories: Histories) -> object:
        """Run the default model."""
        return self._classifier.predict(*histories)

    def tasks(self, names: Iterable[str]) -> dict[str, Task]:
        """Return the tasks of these names; the paper's parts take every alert once."""
        path, curves, n = self._path, self._curves, len(self._batch.trigger_mjd)
        inputs: list[ModelInputs] = model_inputs(*self._batch)
        steps = [path.interpolate(curve) for curve in curves]
        scaled = [path.scale(one) for one in steps]
        # Its best batch: larger ones fall out of the cache.
        eight = np.concatenate(scaled[:8])
        grid, complete = ProcessGrid(("ztf:g", "ztf:r")), _complete(16)
        paper_complete = paper_curves(complete)
        tasks = {
            "features": Task(lambda: _features(self._batch), n),
            "onnx": Task(lambda: [self._classifier.run(bucket) for bucket in inputs], n),
            "all": Task(lambda: self.classify(self._batch), n),
            "grid": Task(lambda: grid.inputs(*self._batch), n),
            "grid_complete": Task(lambda: grid.inputs(*complete), 16),
            "gp_complete": Task(lambda: [path.interpolate(c) for c in paper_complete], 16),
            "gp": Task(lambda: [path.interpolate(curve) for curve in curves], len(curves)),
            "scaling": Task(lambda: [path.scale(one) for one in steps], len(curves)),
            "network": Task(lambda: [path.network(one) for one in scaled], len(curves)),
            "batched": Task(lambda: path.network(eight), len(eight)),
        }
        return {name: tasks[name] for name in names}


def _complete(n: int) -> Histories:
    """Return made-up supernovae from rise to fall in g and r of ZTF."""
    rng = np.random.default_rng(0)
    age = rng.uniform(-40, 90, (n, _COMPLETE))
    shape = np.where(age < 0, np.exp(age / 6), np.exp(-age / 25))
    curves = LightCurves.from_observations(
        curve=np.repeat(np.arange(n), _COMPLETE),
        mjd=60000 + age.ravel(),
        band=rng.choice([band_index("ztf", "g"), band_index("ztf", "r")], age.size).astype(
            np.uint8
        ),
        flux=(1e4 * shape + rng.normal(0, 300, age.shape)).ravel().astype(np.float32),
        flux_err=np.full(age.size, 300, np.float32),
        rank=np.full(age.size, DETECTION, np.uint8),
        n_curves=n,
    )
    return Histories(curves, curves.mjd[curves.splits[1:] - 1])


def _features(histories: Histories) -> object:
    return model_inputs(*histories)


def _paper_rows(taken: Mapping[str, Seconds], parts: Iterable[str]) -> list[Result]:
    return [time_per_alert(f"paper_{part}", taken[part]) for part in parts]


def _scaling(
    progress: Progress, name: str, run: Run, histories: Histories, rounds: int, largest: int
) -> list[Result]:
    """Return the rates with ten times longer histories, and in batches of 1, 4, 16, ..."""
    long = longer(histories, _LENGTHENED)
    tasks = {
        key: _batches(run, alerts.repeated(largest), min(largest, 512))
        for key, alerts in (("original", histories), ("long", long))
    }
    taken = interleave(tasks, rounds, progress, f"{name}, long histories")
    before, after = (alerts.curves.n_observations.mean() for alerts in (histories, long))
    peer = f"{before:.0f} observations per alert instead of {after:.0f}"
    results = [rate(f"{name}_{_LENGTHENED}x_history", taken["long"], peer, taken["original"])]
    sizes = [size for size in (1, 4, 16, 64, 256, 1024, 4096, 16384) if size <= largest]
    repeated = histories.repeated(largest)
    taken = interleave(
        {str(size): _batches(run, repeated, size) for size in sizes},
        rounds,
        progress,
        f"{name}, batches",
    )
    return results + [
        rate(f"{name}_batch_{size}", taken[size], _ONE_BY_ONE, taken["1"]) for size in taken
    ]


def _batches(run: Run, histories: Histories, size: int) -> Task:
    """Return the task of taking all alerts in batches of one size."""
    n = len(histories.trigger_mjd)
    rows = range(0, n, size)
    parts = [histories.take(np.arange(i, min(i + size, n))) for i in rows]
    return Task(lambda: [run(part) for part in parts], n)
