"""Measure the settings of the UEA LSST study on its train part alone, by cross-validation.

Prints the out-of-fold figures of the network and of the forests that stand beside it.
The test part is never read: settings are chosen by this. Command::

    python -m models.series.crossval DIR [--seed N]

Notation: n series, K classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from models.calibrate import fit_temperature
from models.datasets.uea import UeaSeries, load_uea
from models.errors import DataError
from models.evaluate import figures
from models.optimiser import torch_threads
from models.series.training import (
    SeriesConfig,
    answers,
    fit,
    forest,
    forest_answers,
    joint_answers,
)

__all__ = ["FOLDS", "cross_validate", "main"]

FOLDS: Final = 5


def cross_validate(
    train: UeaSeries, config: SeriesConfig, seed: int = 0, folds: int = FOLDS
) -> dict[str, npt.NDArray[np.float64]]:
    """Return out-of-fold probabilities [n, K] of the network and of the forests.

    Folds are stratified and drawn with the seed. `DataError` when a class has fewer
    series than there are folds.
    """
    k = len(train.classes)
    fewest = int(np.bincount(train.label, minlength=k).min())
    if fewest < folds:
        raise DataError(f"each class needs {folds} series to cross-validate, not {fewest}", fewest)
    names = ("network", "forest", "balanced forest", "network and balanced forest")
    found = {name: np.zeros((len(train), k)) for name in names}
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for rows, held_out in splits.split(train.flux, train.label):
        flux, label = train.flux[rows], train.label[rows]
        network = fit(flux, label, k, seed, config)
        found["network"][held_out] = answers(network, train.flux[held_out])
        for name in names[1:3]:
            trees = forest(flux, label, config.trees, seed, name != "forest")
            found[name][held_out] = forest_answers(trees, train.flux[held_out])
        both = (found[name][held_out] for name in ("network", "balanced forest"))
        found["network and balanced forest"][held_out] = joint_answers(*both)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print accuracy, macro-F1 and log-loss of the settings that are shipped.

    And the temperature that would make the log-loss lowest, 1 where there is nothing to gain.
    """
    parser = argparse.ArgumentParser(description="Cross-validate the UEA LSST study")
    parser.add_argument("data", type=Path, help="folder of the train part, see models.datasets.uea")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of the training")
    options = parser.parse_args(arguments)
    train = load_uea(options.data, "train")
    with torch_threads(1):
        for name, answer in cross_validate(train, SeriesConfig(), options.seed).items():
            found = figures(answer, train.label, train.classes, 0)
            values = (f"{f} {found[f]['value']:.4f}" for f in ("accuracy", "macro_f1", "log_loss"))
            sharper = fit_temperature(np.log(answer), train.label)
            print(f"{name}:", *values, f"best temperature {sharper:.2f}", flush=True)


if __name__ == "__main__":
    main()
