"""What every set of features promises to training and serving."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ConfigurationError, DataError
from models.feature_sets import FeatureSet, Inputs, ObservationTokens, ProcessGrid, feature_set
from models.features import model_inputs
from models.gp import grids
from models.lightcurve import band_index
from tests.models.supernovae import random_curves

SETS = [ObservationTokens(), ProcessGrid(("ztf:g", "ztf:r")), ProcessGrid(("lsst:u",))]
every_set = pytest.mark.parametrize("features", SETS, ids=lambda features: features.spec)


def content(features: FeatureSet, inputs: Inputs) -> dict[int, bytes]:
    """Return what is in the arrays for each row, without padding."""
    masked = isinstance(features, ObservationTokens)
    found = {}
    for i, row in enumerate(inputs.rows):
        values = [array[i] for array in inputs.arrays]
        if masked:
            values = [values[0][values[1]], values[2]]
        found[int(row)] = b"".join(value.tobytes() for value in values)
    return found


@every_set
def test_a_spec_names_its_features(features: FeatureSet) -> None:
    assert feature_set(features.spec) == features


@every_set
def test_arrays_are_as_the_graph_expects_them(features: FeatureSet) -> None:
    curves, trigger = random_curves([3, 40, 9])
    inputs = features.batch(curves, trigger, np.arange(3))
    assert len(inputs.arrays) == len(features.names) == len(features.shapes)
    sizes: dict[str, set[int]] = {}
    for array, shape in zip(inputs.arrays, features.shapes, strict=True):
        assert array.flags.c_contiguous
        for size, have in zip(shape, array.shape, strict=True):
            if isinstance(size, str):
                sizes.setdefault(size, set()).add(have)
            else:
                assert have == size
    assert sizes["batch"] == {3}
    assert all(len(found) == 1 for found in sizes.values())


@every_set
def test_a_batch_has_its_rows_in_order(features: FeatureSet) -> None:
    curves, trigger = random_curves([3, 300, 0, 9])
    inputs = features.batch(curves, trigger, np.array([3, 0, 1]))
    assert inputs.rows.tolist() == [3, 0, 1]
    assert content(features, inputs).keys() == {3, 0, 1}


@every_set
def test_inputs_batches_and_chunks_hold_the_same(features: FeatureSet) -> None:
    curves, trigger = random_curves([3, 300, 0, 9, *[20] * 30, 70, 8])
    rows = np.random.default_rng(1).permutation(len(curves))[:-3]
    whole = content(features, features.batch(curves, trigger, rows))
    for parts in (
        features.inputs(curves, trigger, rows),
        list(features.chunks(curves, trigger, rows)),
    ):
        assert sorted(np.concatenate([part.rows for part in parts])) == sorted(rows)
        together: dict[int, bytes] = {}
        for part in parts:
            together |= content(features, part)
        assert together == whole
    everything = features.inputs(curves, trigger)
    assert sum(len(part.rows) for part in everything) == len(curves)


@every_set
def test_no_rows_give_no_chunks(features: FeatureSet) -> None:
    curves, trigger = random_curves([3])
    assert list(features.chunks(curves, trigger, np.zeros(0, np.int64))) == []


@every_set
def test_rows_that_are_not_there(features: FeatureSet) -> None:
    curves, trigger = random_curves([3])
    with pytest.raises(DataError, match="row 7 does not exist"):
        list(features.chunks(curves, trigger, np.array([7])))
    with pytest.raises(DataError, match="row 7 does not exist"):
        features.batch(curves, trigger, np.array([7]))


def test_tokens_are_those_of_the_features_module() -> None:
    curves, trigger = random_curves([12, 12])
    (expected,) = model_inputs(curves, trigger, None, (12,))
    got = ObservationTokens().batch(curves, trigger, np.arange(2))
    for have, want in zip(got.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(have, want)


def test_grids_are_those_of_the_process() -> None:
    curves, trigger = random_curves([12, 12])
    expected = grids(curves, trigger, np.arange(2), [band_index("des", "z"), 0])
    got = ProcessGrid(("des:z", "lsst:u")).batch(curves, trigger, np.arange(2))
    np.testing.assert_array_equal(got.arrays[0], expected.steps)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("observation-tokens/999", "unknown features 'observation-tokens/999'"),
        ("gp-grid/2:ztf:g", "unknown features 'gp-grid/2:ztf:g'"),
        ("gp-grid/1", "no band '' for a grid; known: lsst:u"),
        ("gp-grid/1:ztf:g,ztf:y", "no band 'ztf:y' for a grid"),
        ("gp-grid/1:ztf:g,ztf:g", "each once"),
    ],
)
def test_unknown_specs_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        feature_set(spec)
