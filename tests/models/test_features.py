"""The tensors that a model reads do not depend on what must not matter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.features import (
    LENGTH_BUCKETS,
    OBJECT_CHANNELS,
    TOKEN_CHANNELS,
    ModelInputs,
    chunked_inputs,
    model_inputs,
    n_usable,
)
from models.lightcurve import DETECTION, FORCED, LightCurves, band_index
from tests.models.supernovae import random_curves

TIME = TOKEN_CHANNELS.index("time")
FLUX = TOKEN_CHANNELS.index("flux")
SLOTS = "ugrizy"
SLOT_OF_BAND = dict(enumerate([*range(6), 1, 2, 3, 1, 2, 3, 4]))
"""Row of the band table -> ugrizy: by name, except that DES z lies nearer to LSST z than to y."""


def by_row(inputs: list[ModelInputs]) -> dict[int, tuple[npt.NDArray[np.float32], ...]]:
    """Return the tokens without padding and the object channels of each curve."""
    return {
        int(row): (batch.tokens[i][batch.mask[i]], batch.objects[i])
        for batch in inputs
        for i, row in enumerate(batch.rows)
    }


def assert_same(a: list[ModelInputs], b: list[ModelInputs]) -> None:
    left, right = by_row(a), by_row(b)
    assert left.keys() == right.keys()
    for row in left:
        np.testing.assert_array_equal(left[row][0], right[row][0])
        np.testing.assert_array_equal(left[row][1], right[row][1])


def test_time_shift_changes_nothing() -> None:
    curves, trigger = random_curves([1, 5, 40, 300])
    shifted = replace(curves, mjd=curves.mjd + 1024.0)
    assert_same(model_inputs(curves, trigger), model_inputs(shifted, trigger + 1024.0))


def test_order_of_arrival_changes_nothing() -> None:
    curves, trigger = random_curves([3, 17, 64])
    order = np.random.default_rng(1).permutation(len(curves.mjd))
    shuffled = LightCurves.from_observations(
        curve=np.repeat(np.arange(3), curves.n_observations)[order],
        mjd=curves.mjd[order],
        band=curves.band[order],
        flux=curves.flux[order],
        flux_err=curves.flux_err[order],
        rank=np.where(curves.detected, DETECTION, FORCED).astype(np.uint8)[order],
        n_curves=3,
    )
    assert_same(model_inputs(curves, trigger), model_inputs(shuffled, trigger))


def test_batching_changes_nothing() -> None:
    curves, trigger = random_curves([2, 9, 9, 33, 130, 400])
    one_by_one = [
        inputs
        for row in range(len(curves))
        for inputs in model_inputs(curves, trigger, np.array([row]))
    ]
    assert_same(model_inputs(curves, trigger), one_by_one)


def test_bucket_changes_only_the_padding() -> None:
    curves, trigger = random_curves([8, 5])
    small, large = model_inputs(curves, trigger), model_inputs(curves, trigger, None, (64,))
    assert [inputs.mask.shape[1] for inputs in (*small, *large)] == [8, 64]
    assert_same(small, large)


def test_each_curve_goes_to_the_smallest_bucket() -> None:
    lengths = [1, 8, 9, 16, 32, 33, 128, 129, 256, 257, 900]
    curves, trigger = random_curves(lengths)
    for inputs in model_inputs(curves, trigger):
        size = inputs.mask.shape[1]
        for row in inputs.rows:
            assert size == min([b for b in LENGTH_BUCKETS if b >= lengths[row]] or [256])


@pytest.mark.parametrize("call_tokens", [0, 50, 10**6])
@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=30), max_tokens=st.integers(1, 3000)
)
def test_chunks_hold_the_same_tensors(
    lengths: list[int], max_tokens: int, call_tokens: int
) -> None:
    curves, trigger = random_curves(lengths)
    rows = np.arange(len(curves))
    chunks = list(chunked_inputs(curves, trigger, rows, max_tokens, call_tokens))
    assert_same(model_inputs(curves, trigger), chunks)
    assert sorted(row for chunk in chunks for row in chunk.rows) == rows.tolist()
    for chunk in chunks:
        n, size = chunk.mask.shape
        assert n == 1 or n * size <= max_tokens
        assert size == max(8, -(-int(chunk.mask.sum(axis=1).max()) // 8) * 8)


def test_a_chunk_ends_where_padding_costs_more_than_a_call() -> None:
    curves, trigger = random_curves([100] * 3 + [10] * 10)
    rows = np.arange(13)
    sizes = {
        call: [chunk.mask.shape for chunk in chunked_inputs(curves, trigger, rows, 2048, call)]
        for call in (800, 900)
    }
    assert sizes == {800: [(3, 104), (10, 16)], 900: [(13, 104)]}


def test_padding_is_zero_and_masked() -> None:
    curves, trigger = random_curves([5, 3])
    (inputs,) = model_inputs(curves, trigger)
    assert inputs.mask.sum(axis=1).tolist() == [5, 3]
    assert inputs.mask[0, :5].all()
    assert not inputs.tokens[~inputs.mask].any()
    assert inputs.tokens.dtype == np.float32


def test_a_curve_without_observations_is_all_padding() -> None:
    curves, trigger = random_curves([4])
    (inputs,) = model_inputs(curves, trigger - 1000.0)
    assert not inputs.mask.any()
    assert not inputs.tokens.any()
    assert not inputs.objects.any()


def test_observations_after_the_trigger_are_ignored() -> None:
    curves, trigger = random_curves([20])
    later = LightCurves.from_observations(
        curve=np.zeros(22, np.int64),
        mjd=np.append(curves.mjd, [trigger[0] + 1 / 1024, trigger[0] + 1e6]),
        band=np.append(curves.band, [0, 5]).astype(np.uint8),
        flux=np.append(curves.flux, [1e9, -1e9]).astype(np.float32),
        flux_err=np.append(curves.flux_err, [1e-3, 1e9]).astype(np.float32),
        rank=np.append(np.where(curves.detected, DETECTION, FORCED), [0, 0]).astype(np.uint8),
        n_curves=1,
    )
    assert n_usable(later, trigger).tolist() == [20]
    assert_same(model_inputs(curves, trigger), model_inputs(later, trigger))


def test_n_usable_counts_the_trigger_itself() -> None:
    curves, _ = random_curves([4, 6])
    third = curves.mjd[[2, 6]]
    assert n_usable(curves, third).tolist() == [3, 3]
    assert n_usable(curves, np.array([0.0, np.inf])).tolist() == [0, 6]


def test_own_channels_by_hand() -> None:
    curves = LightCurves(
        splits=np.array([0, 3]),
        mjd=np.array([100.0, 110.0, 110.5]),
        band=np.array([band_index("ztf", "g"), band_index("lsst", "y"), 7], np.uint8),
        flux=np.array([-20.0, 5.0, 40.0], np.float32),
        flux_err=np.array([2.0, 4.0, 8.0], np.float32),
        detected=np.array([True, False, True]),
    )
    (inputs,) = model_inputs(curves, np.array([110.5]))
    own = inputs.tokens[0, :3, :6]
    expected = [
        [-10.5, np.log(4804.79 / 6000), np.arcsinh(-0.5), np.log(0.05), np.arcsinh(-10), 1],
        [-0.5, np.log(9736 / 6000), np.arcsinh(0.125), np.log(0.1), np.arcsinh(1.25), 0],
        [0.0, np.log(6436.92 / 6000), np.arcsinh(1.0), np.log(0.2), np.arcsinh(5), 1],
    ]
    np.testing.assert_allclose(own, expected, rtol=1e-6)
    objects = [np.log10(40), np.log(4), np.log(3), 0.0, 0.0, 0.0]
    np.testing.assert_allclose(inputs.objects[0], objects, rtol=1e-6)
    assert OBJECT_CHANNELS[:3] == ("log_scale", "log_count", "log_detections")


def test_a_redshift_is_optional() -> None:
    curves, trigger = random_curves([5, 6, 7])
    known = replace(
        curves,
        redshift=np.array([0.5, np.nan, 0.0], np.float32),
        redshift_err=np.array([0.15, np.nan, np.nan], np.float32),
    )
    (inputs,) = model_inputs(known, trigger)
    expected = [[np.log(0.5), 0.1, 1.0], [0.0, 0.0, 0.0], [np.log(0.001), 0.0, 1.0]]
    np.testing.assert_allclose(inputs.objects[:, 3:], expected, rtol=1e-6)
    some = model_inputs(known.take(np.array([2, 0])), trigger[[2, 0]])[0]
    np.testing.assert_array_equal(some.objects, inputs.objects[[2, 0]])


def test_redshifts_are_one_per_curve() -> None:
    curves, _ = random_curves([5, 6])
    with pytest.raises(DataError, match="3 redshifts for 2 curves"):
        replace(curves, redshift=np.zeros(3, np.float32))


def test_scale_of_a_faint_curve_is_its_largest_error() -> None:
    curves, trigger = random_curves([6])
    faint = replace(curves, flux=np.zeros(6, np.float32))
    (inputs,) = model_inputs(faint, trigger)
    assert inputs.objects[0, 0] == np.float32(np.log10(curves.flux_err.max()))
    assert np.isfinite(inputs.tokens).all()


def naive_context(curves: LightCurves, own: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the context channels of one curve from their definition, in O(n^2)."""
    n = len(curves.mjd)
    context = np.zeros((n, 4, 6))
    slots = [SLOT_OF_BAND[int(band)] for band in curves.band]
    for i in range(n):
        for slot in range(6):
            before = [k for k in range(n) if k <= i and slots[k] == slot]
            after = [k for k in range(n) if k > i and slots[k] == slot]
            for kind, k in ((0, before[-1:]), (2, after[:1])):
                for j in k:
                    context[i, kind, slot] = own[j, FLUX]
                    context[i, kind + 1, slot] = np.exp(-abs(curves.mjd[i] - curves.mjd[j]) / 20)
    return context.reshape(n, 24)


@pytest.mark.parametrize("length", [1, 2, 60, 250])
def test_context_is_that_of_the_definition(length: int) -> None:
    curves, trigger = random_curves([length], seed=length, bands=range(13))
    (inputs,) = model_inputs(curves, trigger)
    tokens = inputs.tokens[0][inputs.mask[0]]
    np.testing.assert_allclose(tokens[:, 6:], naive_context(curves, tokens), atol=1e-6)
    names = [
        f"{k}_{s}"
        for k in ("latest_flux", "latest_weight", "next_flux", "next_weight")
        for s in SLOTS
    ]
    assert list(TOKEN_CHANNELS[6:]) == names


def test_thinning_keeps_the_newest_half_and_the_share_of_every_band() -> None:
    n, size = 1200, LENGTH_BUCKETS[-1]
    rng = np.random.default_rng(2)
    band = rng.choice(np.array([1, 2, 3, 4], np.uint8), n, p=[0.6, 0.25, 0.1, 0.05])
    curves = LightCurves(
        splits=np.array([0, n]),
        mjd=60000.0 + np.arange(n) / 8,
        band=band,
        flux=rng.normal(size=n).astype(np.float32),
        flux_err=np.ones(n, np.float32),
        detected=np.ones(n, np.bool_),
    )
    (inputs,) = model_inputs(curves, curves.mjd[-1:])
    assert inputs.mask.all()
    kept = n - 1 + np.rint(inputs.tokens[0, :, TIME] * 8).astype(int)
    assert (np.diff(kept) > 0).all()
    assert kept[-size // 2 :].tolist() == list(range(n - size // 2, n))
    older, n_old = kept[: size // 2], n - size // 2
    step = n_old / (size // 2)
    for b in range(1, 5):
        positions = np.flatnonzero(band[:n_old] == b)
        chosen = np.flatnonzero(np.isin(positions, older))
        assert abs(len(chosen) - len(positions) / step) <= 1
        assert np.diff(chosen).max() <= np.ceil(step)
    np.testing.assert_allclose(inputs.objects[0, 1], np.log1p(n), rtol=1e-6)


@pytest.mark.parametrize(
    ("n_triggers", "rows", "message"),
    [
        (3, [0, 3], "row 3 does not exist, there are 3 curves"),
        (3, [0, -1], "row -1 does not exist"),
        (2, None, "2 trigger times for 3 curves"),
        (1, None, "1 trigger times for 3 curves"),
    ],
)
def test_rows_and_triggers_are_in_bounds(
    n_triggers: int, rows: list[int] | None, message: str
) -> None:
    curves, trigger = random_curves([3, 17, 64])
    with pytest.raises(DataError, match=message):
        model_inputs(curves, trigger[:n_triggers], None if rows is None else np.array(rows))


def test_kernels_work_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Files stand where the folders of the cache would be: that also stops root."""
    package, home = tmp_path / "models", tmp_path / "home"
    package.mkdir()
    source = Path(__file__).parents[2] / "models"
    for name in ("__init__", "errors", "features", "lightcurve"):
        shutil.copy(source / f"{name}.py", package)
    (package / "__pycache__").touch()
    home.touch()
    code = (
        "import models.features as f, numpy as np;"
        "print(f.__file__, f._scale(np.arange(1), np.ones(1), np.ones(1)))"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(tmp_path), "HOME": str(home), "XDG_CACHE_HOME": str(home)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == [str(package / "features.py"), "1.0"], done.stderr
