"""Simulated parts to train, to choose and to test on: ZTF and LSST together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from models.datasets.labelled import LabelledCurves
from models.lightcurve import LightCurves
from models.recipe import DataRecipe
from models.simulate.artefacts import artefacts, flattened
from models.simulate.classes import populations
from models.simulate.simulation import simulate
from models.split import Parts

__all__ = ["CLASSES", "SURVEYS", "simulated_parts"]

CLASSES: Final = (
    "mu-Lens",
    "TDE",
    "EB",
    "SNII",
    "SNIax",
    "Mira",
    "SNIbc",
    "KN",
    "M-dwarf",
    "SNIa-91bg",
    "AGN",
    "SNIa",
    "RRL",
    "SLSN-I",
)
"""The classes of t2, in its order (arXiv 2303.08951)."""
SURVEYS: Final = ("ztf", "lsst")
_PARTS: Final = ("train", "validation", "test")


def simulated_parts(recipe: DataRecipe, inputs: Path, console: Console | None = None) -> Parts:
    """Simulate all parts of a recipe from the inputs in a folder.

    Templates of supernovae belong to one part each; classes without templates
    have other objects in each.
    """
    sizes = (recipe.per_class, recipe.held_out_per_class, recipe.held_out_per_class)
    # Once: a population keeps the tables that it makes of its spectra.
    known = populations(inputs)
    classes = {name: known[name] for name in CLASSES}
    made: dict[str, LabelledCurves] = {}
    spoilt: dict[str, LightCurves] = {}
    with Progress(console=console) as progress:
        task = progress.add_task("simulating", total=len(SURVEYS) * len(CLASSES) * sum(sizes))
        for i, (part, n) in enumerate(zip(_PARTS, sizes, strict=True)):
            done = len(SURVEYS) * len(CLASSES) * sum(sizes[:i])
            surveys = []
            for survey in SURVEYS:
                seed = recipe.split_seed
                surveys.append(
                    simulate(n, survey, seed, inputs, classes=classes, part=part, split_seed=seed)
                )
                done += len(CLASSES) * n
                progress.update(task, completed=done)
            together = _together(surveys)
            made[part] = together if recipe.redshift else together.without_redshift()
            if recipe.artefacts > 0:
                n_spoilt = round(recipe.artefacts * len(made[part]))
                spoilt[part] = _artefacts(n_spoilt, made[part], recipe, i, inputs)
    trained = {made["train"].groups[g] for g in np.unique(made["train"].group)}
    held_out = sorted(
        {data.groups[g] for data in made.values() for g in np.unique(data.group)} - trained
    )
    return Parts(
        made["train"], made["validation"], {"templates": made["test"]}, tuple(held_out), spoilt
    )


def _together(surveys: list[LabelledCurves]) -> LabelledCurves:
    first = surveys[0]
    return replace(
        first,
        name=f"tinyt2 simulation ({' and '.join(SURVEYS)})",
        curves=LightCurves.concatenate([data.curves for data in surveys]),
        label=np.concatenate([data.label for data in surveys]),
        group=np.concatenate([data.group for data in surveys]),
        object_id=np.arange(sum(len(data) for data in surveys), dtype=np.int64),
    )


def _artefacts(
    n: int, data: LabelledCurves, recipe: DataRecipe, part: int, inputs: Path
) -> LightCurves:
    """Return artefacts of both surveys and, as a half, objects whose variation is taken away."""
    rng = np.random.default_rng([recipe.split_seed, 7, part])
    n_flat = n // 2
    seen = [artefacts((n - n_flat) // len(SURVEYS), survey, rng, inputs) for survey in SURVEYS]
    flat = flattened(data.curves.take(rng.permutation(len(data))[:n_flat]), rng)
    return LightCurves.concatenate([*seen, flat])
