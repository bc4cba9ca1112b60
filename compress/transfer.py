"""What students learn from: alerts of the training curves, made once, with the teacher's answers.

Every retraining of a chain, and the twins beside it, read the same views: no simulation of
alerts and no teacher in their epochs. The columns lie on disk and are mapped, not read.

Notation: n curves trained on, V views of each, K classes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.augment import alert_views
from models.export import replace
from models.feature_sets import FeatureSet, Inputs
from models.features import LENGTH_BUCKETS, n_usable
from models.lightcurve import LightCurves
from models.networks import curve_scores
from models.optimiser import SORTED_BATCHES, batches_of_a_length
from models.recipe import AugmentationRecipe
from models.split import Parts
from models.t2 import T2
from models.tiny import Tiny

__all__ = ["ARTEFACT", "Lesson", "TransferSet", "make_transfer_set"]

ARTEFACT: Final = -1
"""Label of a curve that is of no class."""
_CHUNK: Final = 8192
"""Curves whose views are made at once, which bounds the memory."""
_KEY_NAME: Final = "key.json"
_CURVES: Final = ("splits", "mjd", "band", "flux", "flux_err", "detected")
_HOSTS: Final = ("redshift", "redshift_err")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch of B alerts."""

    inputs: Inputs
    label: Tensor
    """[B] class, `ARTEFACT` for none."""
    logits: Tensor
    """[B, K] of the teacher, before temperature."""
    ood_score: Tensor
    """[B] of the teacher."""


class TransferSet:
    """n V views; view v of curve i is row v n + i."""

    def __init__(self, folder: Path, features: FeatureSet) -> None:
        def column(name: str) -> npt.NDArray[Any]:
            return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))

        hosts = {k: column(k) for k in _HOSTS if (folder / f"{k}.npy").exists()}
        self.curves = LightCurves(**{k: column(k) for k in _CURVES}, **hosts)
        self.trigger_mjd, self.label = column("trigger_mjd"), column("label")
        self.logits, self.ood_score = column("logits"), column("ood_score")
        self.n_curves = int(json.loads((folder / _KEY_NAME).read_text())["curves"])
        self.n_views = len(self.label) // self.n_curves
        self.features = features
        self._length = np.minimum(
            n_usable(self.curves, self.trigger_mjd), LENGTH_BUCKETS[-1]
        ).astype(np.int16)

    @property
    def n_classes(self) -> int:
        """Return the number of classes, K."""
        return int(self.logits.shape[1])

    def epoch(self, number: int, batch: int, seed: int) -> Iterator[Lesson]:
        """Yield one view of each curve, in random order, other views in the next epoch."""
        rng = np.random.default_rng([seed, 2, number])
        order = rng.permutation(self.n_curves) + number % self.n_views * self.n_curves
        for start in range(0, len(order), batch * SORTED_BATCHES):
            yield from self.lessons(order[start : start + batch * SORTED_BATCHES], batch, rng)

    def lessons(
        self, rows: npt.NDArray[np.int64], batch: int, rng: np.random.Generator
    ) -> Iterator[Lesson]:
        """Yield some rows in batches of alerts of about one length."""
        curves, trigger = self.curves.take(rows), self.trigger_mjd[rows]
        for some in batches_of_a_length(self._length[rows], batch, rng):
            inputs = self.features.batch(curves, trigger, some)
            own = rows[inputs.rows]
            yield Lesson(
                inputs,
                torch.from_numpy(self.label[own]),
                torch.from_numpy(self.logits[own]),
                torch.from_numpy(self.ood_score[own]),
            )

    def balanced(self, per_class: int, seed: int) -> npt.NDArray[np.int64]:
        """Return up to so many random rows of each class."""
        rng = np.random.default_rng([seed, 5])
        rows = [
            rng.permutation(np.flatnonzero(self.label == k))[:per_class]
            for k in range(self.n_classes)
        ]
        return np.concatenate(rows)

    def class_weight(self, raised: dict[int, float]) -> Tensor:
        """Return weights [K], 1 on average over alerts, by which all classes count alike.

        Some are ``raised`` by a factor above that.
        """
        counts = np.bincount(self.label[self.label >= 0], minlength=self.n_classes)
        weight = counts.sum() / (self.n_classes * np.maximum(counts, 1.0))
        for k, factor in raised.items():
            weight[k] *= factor
        return torch.from_numpy(weight).float()


def make_transfer_set(
    folder: Path,
    parts: Parts,
    teacher: Tiny | T2,
    features: FeatureSet,
    how: AugmentationRecipe,
    views: int,
    seed: int,
    key: str,
    progress: Callable[[float], None] = lambda part: None,
) -> TransferSet:
    """Make the views and the teacher's answers in a folder, unless those of ``key`` are there.

    ``key`` names all that they depend on. ``progress`` is told how large each part is that is done.
    """
    label = parts.train.label
    curves = [parts.train.curves]
    if "train" in parts.artefacts:
        curves.append(parts.artefacts["train"])
        label = np.append(label, np.full(len(curves[1]), ARTEFACT))
    path, said = folder / _KEY_NAME, {"key": key, "curves": len(label), "views": views}
    if not path.exists() or json.loads(path.read_text()) != said:
        # Columns that this set does not have would be read with it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = []
        whole = LightCurves.concatenate(curves)
        chunks = [(v, i) for v in range(views) for i in range(0, len(label), _CHUNK)]
        for view, start in chunks:
            rng = np.random.default_rng([seed, 9, view, start])
            some = whole.take(np.arange(start, min(start + _CHUNK, len(label))))
            alerts, trigger = alert_views(some, rng, how)
            made.append((alerts, trigger, *curve_scores(teacher, features, alerts, trigger)))
            progress(1 / len(chunks))
        _write(folder, [c for c, *_ in made])
        for name, column in zip(
            ("trigger_mjd", "logits", "ood_score"),
            zip(*(m[1:] for m in made), strict=True),
            strict=True,
        ):
            np.save(folder / f"{name}.npy", np.concatenate(column))
        np.save(folder / "label.npy", np.tile(label, views))
        replace(path, json.dumps(said).encode())
    return TransferSet(folder, features)


def _write(folder: Path, made: list[LightCurves]) -> None:
    together = LightCurves.concatenate(made)
    for name in (*_CURVES, *_HOSTS):
        column = getattr(together, name)
        if column is not None:
            np.save(folder / f"{name}.npy", column)
