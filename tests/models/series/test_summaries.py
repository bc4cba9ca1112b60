from __future__ import annotations

import numpy as np
import pytest

from models.errors import DataError
from models.series.summaries import noise, summarise
from tests.models.series.flares import series


@pytest.mark.parametrize("level", [0.0, 1e-6, -7.5, 1e6])
def test_flat_series_have_finite_features(level: float) -> None:
    assert np.isfinite(summarise(np.full((3, 6, 36), level))).all()


def test_wild_series_have_finite_features() -> None:
    rng = np.random.default_rng(0)
    wild = rng.standard_cauchy((20, 6, 36)) * 10.0 ** rng.uniform(-3, 5, (20, 1, 1))
    assert np.isfinite(summarise(wild)).all()


@pytest.mark.parametrize("steps", [8, 20, 36, 50])
def test_any_length_gives_as_many_features(steps: int) -> None:
    flux = np.random.default_rng(0).normal(size=(4, 6, steps)) * 10
    wide = summarise(flux)
    assert wide.shape[0] == 4
    assert wide.shape[1] == summarise(np.concatenate([flux, flux[..., :12]], 2)).shape[1] - (
        6 * sum(steps <= lag < steps + 12 for lag in (1, 2, 3, 4, 6, 9, 12))
    )


def test_a_series_does_not_depend_on_its_neighbours() -> None:
    flux = series(np.random.default_rng(1), np.arange(9) % 3)
    np.testing.assert_allclose(summarise(flux)[4:5], summarise(flux[4:5]), rtol=1e-5, atol=1e-5)


def test_shifting_a_flare_changes_its_features_less_than_another_class_does() -> None:
    label = np.ones(40, np.int64)
    here = summarise(series(np.random.default_rng(2), label, middle=13))
    there = summarise(series(np.random.default_rng(3), label, middle=22))
    other = summarise(series(np.random.default_rng(4), label + 1, middle=13))
    scale = np.concatenate([here, there, other]).std(axis=0) + 1e-3
    shifted = np.abs((here.mean(axis=0) - there.mean(axis=0)) / scale)
    changed = np.abs((here.mean(axis=0) - other.mean(axis=0)) / scale)
    assert shifted.mean() < 0.25 * changed.mean()


def test_brightness_is_kept() -> None:
    flux = series(np.random.default_rng(5), np.full(10, 2))
    assert np.abs(summarise(flux) - summarise(10 * flux)).max() > 1


def test_noise_is_that_of_white_noise_and_nearly_blind_to_a_slope() -> None:
    white = np.random.default_rng(6).normal(0, 3, (200, 6, 36))
    assert noise(white).mean() == pytest.approx(3, rel=0.05)
    slope = white + np.linspace(0, 36, 36)
    assert noise(slope).mean() == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize(
    "flux", [np.zeros((3, 36)), np.zeros((3, 6, 7)), np.full((2, 6, 36), np.nan)]
)
def test_what_is_no_series_is_refused(flux: np.ndarray) -> None:
    with pytest.raises(DataError, match="finite"):
        summarise(flux)
