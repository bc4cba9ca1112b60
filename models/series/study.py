"""The "LSST" problem of the UEA archive: our network beside a forest and the published methods.

``tinyt2 study uea --data DIR --out DIR`` trains on the train part of the archive's
standard split and looks at the test part once per row. Nothing is chosen on the
test part: `models.series.crossval` compares settings on the train part alone.

Notation: n series, K classes, S seeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from models.calibrate import softmax
from models.datasets.uea import UeaSeries, load_uea
from models.errors import ConfigurationError
from models.evaluate import figures
from models.export import replace
from models.optimiser import torch_threads
from models.series.network import n_parameters
from models.series.training import (
    FOREST_TEMPERATURE,
    SeriesConfig,
    answers,
    fit,
    forest,
    forest_answers,
    joint_answers,
)

__all__ = ["BUDGET", "PUBLISHED", "RESULT_NAME", "run"]

RESULT_NAME: Final = "uea_lsst.json"

BUDGET: Final = 200_000
"""Parameters that a network of this comparison must stay below."""

PUBLISHED: Final = {
    "HIVE-COTE 2": 0.6427,
    "Arsenal": 0.6423,
    "MUSE": 0.6399,
    "ROCKET": 0.6367,
    "ResNet": 0.6196,
    "InceptionTime": 0.6123,
    "TapNet": 0.5126,
}
"""Accuracy on this split by the result files of tsml-eval
(``results/classification/Multivariate/*_accuracy.csv``). Those methods normalise
each series; macro-F1 and log-loss are not published."""

_BALANCED: Final = "ExtraTrees, classes weighed alike"
_FORESTS: Final = {"ExtraTrees": False, _BALANCED: True}
"""Baselines on summary features, and whether their classes are balanced."""
_SHARPENED: Final = "ExtraTrees, sharpened"
"""The first of them at `FOREST_TEMPERATURE`."""
_JOINT: Final = "network and balanced ExtraTrees, averaged"
_FIGURES: Final = {"accuracy": "accuracy", "macro_f1": "macro-F1", "log_loss": "log-loss"}


def run(
    data: Path,
    out: Path,
    seeds: Sequence[int] = (0, 1, 2),
    console: Console | None = None,
    config: SeriesConfig | None = None,
    bootstrap: int = 500,
) -> dict[str, Any]:
    """Train and evaluate with each seed, print the table, write ``uea_lsst.json``; return it.

    ``data`` is a folder that `load_uea` reads. `ConfigurationError` without seeds
    and for networks of `BUDGET` parameters or more, `DataError` for bad data.
    """
    if not seeds:
        raise ConfigurationError("a study needs at least one seed", seeds)
    config, console = config or SeriesConfig(), console or Console()
    train, test = load_uea(data, "train"), load_uea(data, "test")
    with torch_threads(1):
        found = [_evaluate(train, test, seed, config, bootstrap, console) for seed in seeds]
    rows = {name: _row([each[name] for each in found]) for name in found[0]}
    result = _result(train, test, seeds, config, rows)
    out.mkdir(parents=True, exist_ok=True)
    replace(out / RESULT_NAME, json.dumps(result, indent=1).encode())
    console.print(_table(result))
    return result


def within_budget(parameters: int) -> int:
    """Return the number of parameters; `ConfigurationError` when it is `BUDGET` or more."""
    if parameters >= BUDGET:
        raise ConfigurationError(
            f"the network has {parameters:,} parameters, the comparison allows fewer than "
            f"{BUDGET:,}: take fewer members or a smaller width",
            parameters,
        )
    return parameters


def _evaluate(
    train: UeaSeries,
    test: UeaSeries,
    seed: int,
    config: SeriesConfig,
    bootstrap: int,
    console: Console,
) -> dict[str, dict[str, Any]]:
    """Train with a seed on the train part; return figures of the test part by method."""
    console.print(f"seed {seed}: training on {len(train):,} series ...")
    k = len(train.classes)
    fitted = fit(train.flux, train.label, k, seed, config)
    parameters = within_budget(n_parameters(fitted))
    network = answers(fitted, test.flux)
    found = {f"network ({parameters:,} parameters)": network}
    for name, balanced in _FORESTS.items():
        trees = forest(train.flux, train.label, config.trees, seed, balanced)
        found[name] = forest_answers(trees, test.flux)
    found[_SHARPENED] = softmax(np.log(found["ExtraTrees"]), FOREST_TEMPERATURE)
    found[_JOINT] = joint_answers(network, found[_BALANCED])
    console.print(f"seed {seed}: evaluating, with bootstrap intervals ...")
    return {
        name: figures(answer, test.label, test.classes, bootstrap) for name, answer in found.items()
    }


def _row(per_seed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of each seed, and their means with the mean bounds of the intervals."""
    return {"mean": {name: _mean(per_seed, name) for name in _FIGURES}, "seeds": per_seed}


def _mean(per_seed: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Average value and interval over seeds; ``scatter`` is the standard deviation of values."""
    bounds = ("value", "low", "high")
    values = np.array([[found[name][b] for b in bounds] for found in per_seed], np.float64)
    mean = dict(zip(bounds, values.mean(axis=0).tolist(), strict=True))
    return mean | {"scatter": float(values[:, 0].std())}


def _result(
    train: UeaSeries,
    test: UeaSeries,
    seeds: Sequence[int],
    config: SeriesConfig,
    rows: dict[str, Any],
) -> dict[str, Any]:
    majority = np.bincount(train.label).argmax()
    return {
        "data": {"train": train.name, "test": test.name, "n": [len(train), len(test)]},
        "classes": list(test.classes),
        "seeds": list(seeds),
        "config": asdict(config),
        "intervals": "95 %, bootstrap by series; those of the mean row are mean bounds over seeds",
        "rows": rows,
        "published_accuracy": PUBLISHED,
        "majority_accuracy": float(np.mean(test.label == majority)),
    }


def _table(result: dict[str, Any]) -> Table:
    table = Table(title="UEA LSST, standard split, test part")
    for column in ("method", *_FIGURES.values()):
        table.add_column(column)
    for name, row in result["rows"].items():
        for seed, found in zip(result["seeds"], row["seeds"], strict=True):
            table.add_row(f"{name}, seed {seed}", *(_cell(found[f]) for f in _FIGURES))
        table.add_row(f"{name}, mean", *(_cell(row["mean"][f]) for f in _FIGURES))
    for name, accuracy in (result["published_accuracy"] | {"majority": None}).items():
        value = result["majority_accuracy"] if accuracy is None else accuracy
        table.add_row(name, f"{value:.3f}", "-", "-")
    return table


def _cell(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} .. {found['high']:.3f})"
