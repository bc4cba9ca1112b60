"""Choose the settings of the UEA LSST study on the train part alone, by cross-validation.

Prints the out-of-fold figures of named variants of `SeriesConfig`, each with the
forest that taught it. The test part is never read. Command::

    python -m models.series.crossval DIR [VARIANT ...]

Notation: n series, K classes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from models.datasets.uea import UeaSeries, load_uea
from models.errors import DataError
from models.evaluate import point_figures
from models.series.network import NetworkConfig
from models.series.training import SeriesConfig, answers, fit, forest_answers
from models.trainer import torch_threads

__all__ = ["FOLDS", "VARIANTS", "cross_validate", "main"]

FOLDS: Final = 5

_BASE: Final = SeriesConfig()
VARIANTS: Final = {
    "default": _BASE,
    "hard labels": replace(_BASE, softness=0.0),
    "no views": replace(_BASE, views=0),
    "no views, hard labels": replace(_BASE, views=0, softness=0.0),
    "no views, long": replace(_BASE, views=0, epochs=90),
    "no views, long, hard labels": replace(_BASE, views=0, epochs=90, softness=0.0),
    "no views, long, more dropout": replace(
        _BASE, views=0, epochs=90, network=NetworkConfig(feature_dropout=0.3, dropout=0.4)
    ),
}
"""What can be compared, by name."""

Answers = dict[str, npt.NDArray[np.float64]]


def cross_validate(
    train: UeaSeries, config: SeriesConfig, seed: int = 0, folds: int = FOLDS
) -> Answers:
    """Return out-of-fold probabilities [n, K] of the network and of the forest.

    Folds are stratified and drawn with the seed. `DataError` when a class has fewer
    series than there are folds.
    """
    n_classes = len(train.classes)
    fewest = int(np.bincount(train.label, minlength=n_classes).min())
    if fewest < folds:
        raise DataError(f"each class needs {folds} series to cross-validate, not {fewest}", fewest)
    found = {name: np.zeros((len(train), n_classes)) for name in ("network", "forest")}
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for rows, held_out in splits.split(train.flux, train.label):
        fitted = fit(train.flux[rows], train.label[rows], n_classes, seed, config)
        found["network"][held_out] = answers(fitted.network, train.flux[held_out])
        found["forest"][held_out] = forest_answers(fitted.teacher, train.flux[held_out])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print accuracy, macro-F1 and log-loss of each variant asked for, of all by default."""
    parser = argparse.ArgumentParser(description="Cross-validate settings of the UEA LSST study")
    parser.add_argument("data", type=Path, help="folder of the train part, see models.datasets.uea")
    parser.add_argument("variants", nargs="*", choices=[*VARIANTS, []], help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of the training")
    options = parser.parse_args(arguments)
    train = load_uea(options.data, "train")
    with torch_threads(1):
        for name in options.variants or VARIANTS:
            for model, answer in cross_validate(train, VARIANTS[name], options.seed).items():
                found = point_figures(answer, train.label, train.classes)
                figures = (f"{f} {found[f]:.4f}" for f in ("accuracy", "macro_f1", "log_loss"))
                print(f"{name}, seed {options.seed}, {model}:", *figures, flush=True)


if __name__ == "__main__":
    main()
