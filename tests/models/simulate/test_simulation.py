"""Labelled curves: counts, repeatability, hold-out, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.augment import n_detections
from models.datasets.labelled import LabelledCurves
from models.errors import ConfigurationError
from models.simulate.holdout import PARTS, groups_of_part
from models.simulate.simulation import simulate
from models.simulate.source import Population
from models.simulate.variables import variable_populations
from tests.models.simulate.constant_stars import Shining


@pytest.fixture(scope="module")
def classes(inputs: Path) -> dict[str, Population]:
    return {population.name: population for population in variable_populations(inputs)}


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def data(
    request: pytest.FixtureRequest, inputs: Path, classes: dict[str, Population]
) -> LabelledCurves:
    return simulate(20, request.param, 5, inputs, classes=classes)


def test_every_class_has_its_number_of_detected_curves(
    data: LabelledCurves, classes: dict[str, Population]
) -> None:
    assert data.classes == tuple(classes)
    assert np.array_equal(np.bincount(data.label), np.full(len(classes), 20))
    flares = data.label == data.classes.index("M-dwarf")
    assert (n_detections(data.curves)[~flares] >= 2).all()
    assert (n_detections(data.curves) >= 1).all()


def test_curves_are_compact_sorted_and_named(data: LabelledCurves) -> None:
    curves = data.curves
    assert curves.flux.dtype == curves.flux_err.dtype == np.float32
    assert np.isfinite(curves.flux).all() and (curves.flux_err > 0).all()
    steps = np.diff(curves.mjd)
    inside = np.ones(len(steps), bool)
    inside[curves.splits[1:-1] - 1] = False
    assert (steps[inside] >= 0).all()
    assert data.name in (
        "tinyt2 simulation (ZTF), train part, seed 5",
        "tinyt2 simulation (LSST), train part, seed 5",
    )


def test_only_active_galaxies_have_redshifts(data: LabelledCurves) -> None:
    assert data.curves.redshift is not None
    known = np.isfinite(data.curves.redshift)
    assert np.array_equal(known, data.label == data.classes.index("AGN"))


def test_groups_belong_to_their_class(data: LabelledCurves) -> None:
    for k, name in enumerate(data.classes):
        of_class = {data.groups[g] for g in data.group[data.label == k]}
        assert all(group == name or group.startswith(f"{name}: ") for group in of_class)


def test_equal_seeds_give_equal_curves(inputs: Path, classes: dict[str, Population]) -> None:
    first, again, other = (
        simulate({"RRL": 15, "DN": 10}, "ztf", seed, inputs, classes=classes) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.curves.flux, again.curves.flux)
    assert np.array_equal(first.group, again.group)
    assert not np.array_equal(first.curves.flux[:50], other.curves.flux[:50])


def test_a_class_does_not_depend_on_which_others_are_made(
    inputs: Path, classes: dict[str, Population]
) -> None:
    alone = simulate({"DN": 10}, "ztf", 3, inputs, classes=classes)
    last = simulate({"RRL": 5, "DN": 10}, "ztf", 3, inputs, classes=classes)
    assert np.array_equal(alone.curves.flux, last.curves.take(np.arange(5, 15)).flux)


def test_parts_share_no_template_and_all_templates_are_used(
    inputs: Path, classes: dict[str, Population]
) -> None:
    rows = [groups_of_part(classes["RRL"], part, 0) for part in PARTS]
    together = np.concatenate(rows)
    assert len(np.unique(together)) == len(together) == len(classes["RRL"].groups)
    assert all(len(part) for part in rows)
    made = [
        simulate({"RRL": 60}, "lsst", seed, inputs, classes=classes, part=part)
        for seed, part in enumerate(PARTS)
    ]
    used = [{data.groups[g] for g in data.group} for data in made]
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]


def test_parts_of_a_class_without_templates_differ(
    inputs: Path, classes: dict[str, Population]
) -> None:
    train, test = (
        simulate({"EB": 10}, "ztf", 1, inputs, classes=classes, part=part)
        for part in ("train", "test")
    )
    assert not np.isin(train.curves.flux, test.curves.flux).any()


def test_the_shares_of_the_parts_follow_the_weights() -> None:
    star = Shining(1.0, groups=tuple(f"template {i}" for i in range(200)))
    sizes = [len(groups_of_part(star, part, 1)) for part in PARTS]
    assert sizes == [140, 30, 30]
    assert not np.array_equal(groups_of_part(star, "test", 1), groups_of_part(star, "test", 2))


def test_a_class_that_is_never_detected_ends_with_an_error(inputs: Path) -> None:
    invisible: dict[str, Population] = {"DN": Shining(100.0)}
    with pytest.raises(ConfigurationError, match="ztf detects only 0 of"):
        simulate(1, "ztf", 0, inputs, classes=invisible)


def test_mistakes_are_named(inputs: Path, classes: dict[str, Population]) -> None:
    with pytest.raises(ConfigurationError, match="no population of SNIa; known: AGN, RRL"):
        simulate({"SNIa": 3}, "ztf", 0, inputs, classes=classes)
    with pytest.raises(ConfigurationError, match="at least one class and one curve"):
        simulate(0, "ztf", 0, inputs, classes=classes)
    with pytest.raises(ConfigurationError, match="no part 'holdout'"):
        simulate(1, "ztf", 0, inputs, classes=classes, part="holdout")


def test_progress_is_reported_to_the_end(inputs: Path, classes: dict[str, Population]) -> None:
    seen: list[tuple[str, int, int]] = []
    simulate(
        {"RRL": 7},
        "ztf",
        0,
        inputs,
        classes=classes,
        progress=lambda name, done, wanted: seen.append((name, done, wanted)),
    )
    assert seen[-1] == ("RRL", 7, 7)
