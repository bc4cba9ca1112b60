"""Labelled light curves of simulated sources.

Notation: n sources, m observations in all, K classes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.augment import n_detections
from models.datasets.labelled import LabelledCurves
from models.errors import ConfigurationError
from models.lightcurve import LightCurves
from models.simulate.classes import populations
from models.simulate.holdout import PARTS, groups_of_part
from models.simulate.observatory import Observatory, open_observatory
from models.simulate.source import Population, Sources
from models.simulate.survey import observe

__all__ = ["FEWEST_DETECTIONS", "Progress", "simulate"]

FEWEST_DETECTIONS: Final[dict[str, int]] = {"M-dwarf": 1}
"""Classes kept with fewer detections than others: most flares are over at the next visit."""

Progress = Callable[[str, int, int], None]
"""(class name, curves so far, curves wanted)"""

_LARGEST_BATCH: Final = 4096
_SMALLEST_BATCH: Final = 64
_PATIENCE: Final = 400  # sources drawn per curve wanted before giving up
_PHOTO_Z_ERROR: Final = 0.03  # of 1 + z
_SPECTROSCOPIC: Final = 0.2
_SPECTROSCOPIC_ERROR: Final = 0.001


def simulate(
    counts: Mapping[str, int] | int,
    survey: str,
    seed: int,
    inputs: Path,
    *,
    classes: Mapping[str, Population] | None = None,
    part: str = "train",
    split_seed: int = 0,
    fewest_detections: int = 2,
    progress: Progress | None = None,
) -> LabelledCurves:
    """Simulate detected objects: ``counts`` by class, or one count for all of ``classes``.

    ``classes``: class name -> population, by default all that `populations` makes from
    the folder of inputs.

    Curves hold every exposure of the observed window; those with fewer than
    ``fewest_detections`` (see also `FEWEST_DETECTIONS`) that are no mere noise are drawn
    again. Whole templates belong to one ``part`` (train, validation, test), dealt out by
    ``split_seed``, which must be the same for all parts; equal arguments give equal curves, two
    surveys see different sources. Rows are in order of class. Redshifts are those of the host:
    spectroscopic for a fifth, otherwise with photometric errors of .03 (1 + z); NaN for galactic
    classes. Raise `ConfigurationError` for an unknown class, part or survey and for a class
    that the survey almost never detects.
    """
    known = populations(inputs) if classes is None else classes
    wanted = _wanted(counts, known)
    observatory = open_observatory(inputs, survey)
    curves: list[LightCurves] = []
    label: list[npt.NDArray[np.int64]] = []
    group: list[npt.NDArray[np.int64]] = []
    names: list[str] = []
    for k, (name, n) in enumerate(wanted.items()):
        population = known[name]
        rows = groups_of_part(population, part, split_seed)
        stream = [seed, zlib.crc32(f"{survey} {name}".encode()), list(PARTS).index(part)]
        fewest = min(fewest_detections, FEWEST_DETECTIONS.get(name, fewest_detections))
        made, groups = _detected(
            population, n, rows, observatory, np.random.default_rng(stream), fewest, progress
        )
        curves.append(made)
        label.append(np.full(n, k))
        group.append(groups + len(names))
        names += [_full_name(name, template) for template in population.groups]
    title = {"ztf": "ZTF", "lsst": "LSST"}[survey]
    return LabelledCurves(
        name=f"tinyt2 simulation ({title}), {part} part, seed {seed}",
        curves=LightCurves.concatenate(curves),
        classes=tuple(wanted),
        label=np.concatenate(label).astype(np.int64),
        group=np.concatenate(group).astype(np.int64),
        groups=tuple(names),
        object_id=np.arange(sum(wanted.values()), dtype=np.int64),
    )


def _full_name(class_name: str, template: str) -> str:
    return class_name if template == class_name else f"{class_name}: {template}"


def _wanted(counts: Mapping[str, int] | int, known: Mapping[str, Population]) -> dict[str, int]:
    wanted = dict.fromkeys(known, counts) if isinstance(counts, int) else dict(counts)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigurationError(
            f"no population of {', '.join(unknown)}; known: {', '.join(known)}", unknown
        )
    if not wanted or min(wanted.values()) < 1:
        raise ConfigurationError("ask for at least one class and one curve of each", counts)
    return wanted


def _detected(
    population: Population,
    n: int,
    rows: npt.NDArray[np.int64],
    observatory: Observatory,
    rng: np.random.Generator,
    fewest: int,
    progress: Progress | None,
) -> tuple[LightCurves, npt.NDArray[np.int64]]:
    """Draw sources until n have enough detections; return their curves and groups."""
    curves: list[LightCurves] = []
    groups: list[npt.NDArray[np.int64]] = []
    found = drawn = 0
    while found < n:
        if drawn > _PATIENCE * max(n, _SMALLEST_BATCH):
            raise ConfigurationError(
                f"{observatory.survey} detects only {found} of {drawn} simulated "
                f"{population.name}: leave the class out or lower the number of detections",
                population.name,
            )
        size = _batch(n - found, found, drawn)
        sources = population.draw(rng, size, observatory.survey, rows)
        seen, genuine = observe(sources, population.variable, population.galactic, observatory, rng)
        count = n_detections(replace(seen, detected=seen.detected & genuine))
        chosen = np.flatnonzero(count >= fewest)[: n - found]
        curves.append(_with_redshift(seen.take(chosen), sources, chosen, rng))
        groups.append(sources.group[chosen])
        found, drawn = found + len(chosen), drawn + size
        if progress is not None:
            progress(population.name, found, n)
    return LightCurves.concatenate(curves), np.concatenate(groups)


def _batch(missing: int, found: int, drawn: int) -> int:
    """Return how many sources to draw, from the fraction that was detected so far."""
    fraction = max(found / drawn, 1 / 50) if drawn else 0.5
    return int(np.clip(1.1 * missing / fraction, _SMALLEST_BATCH, _LARGEST_BATCH))


def _with_redshift(
    curves: LightCurves, sources: Sources, chosen: npt.NDArray[np.int64], rng: np.random.Generator
) -> LightCurves:
    true = sources.redshift[chosen].astype(np.float64)
    spectroscopic = rng.random(len(true)) < _SPECTROSCOPIC
    error = (1 + true) * np.where(spectroscopic, _SPECTROSCOPIC_ERROR, _PHOTO_Z_ERROR)
    measured = np.maximum(true + error * rng.standard_normal(len(true)), 0.001)
    return replace(
        curves, redshift=measured.astype(np.float32), redshift_err=error.astype(np.float32)
    )
