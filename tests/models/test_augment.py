"""Training samples are what an alert could have carried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.augment import (
    alert_views,
    as_alerts,
    at_detection,
    at_last_detection,
    carried_by_alerts,
    n_detections,
    random_detection,
)
from models.lightcurve import LightCurves, band_index
from models.recipe import AugmentationRecipe
from tests.models.supernovae import random_curves

NOTHING = AugmentationRecipe(early=0, dim=0, drop=0, short=0, detections_only=0)


def changed(**options: float) -> AugmentationRecipe:
    return NOTHING.model_copy(update=options)


def bright_curves(n: int, length: int = 40) -> LightCurves:
    """Return DES curves with fluxes of at least 20 sigma, detected in about a third."""
    griz = [band_index("des", name) for name in "griz"]
    curves, _ = random_curves([length] * n, seed=n, bands=griz)
    flux = (20 + np.abs(curves.flux) / 100) * curves.flux_err
    return replace(curves, flux=flux.astype(np.float32))


def views(how: AugmentationRecipe, seed: int = 0) -> tuple[LightCurves, LightCurves, np.ndarray]:
    curves = bright_curves(50)
    seen, trigger = alert_views(curves, np.random.default_rng(seed), how)
    return curves, seen, trigger


def test_detections_by_number() -> None:
    curves = LightCurves(
        splits=np.array([0, 4, 6, 7]),
        mjd=np.array([1.0, 2.0, 3.0, 4.0, 10.0, 11.0, 20.0]),
        band=np.zeros(7, np.uint8),
        flux=np.ones(7, np.float32),
        flux_err=np.ones(7, np.float32),
        detected=np.array([False, True, True, False, False, False, True]),
    )
    assert n_detections(curves).tolist() == [2, 0, 1]
    assert at_last_detection(curves).tolist() == [3.0, 11.0, 20.0]
    assert at_detection(curves, np.array([0, 0, 5])).tolist() == [2.0, 11.0, 20.0]
    draws = [random_detection(curves, np.random.default_rng(i)).tolist() for i in range(20)]
    assert {draw[0] for draw in draws} == {2.0, 3.0}
    assert {tuple(draw[1:]) for draw in draws} == {(11.0, 20.0)}


def test_without_changes_a_view_is_the_history_at_the_last_detection() -> None:
    curves, seen, trigger = views(NOTHING)
    np.testing.assert_array_equal(trigger, at_last_detection(curves))
    expected = curves.where(curves.mjd <= np.repeat(trigger, curves.n_observations))
    np.testing.assert_array_equal(seen.mjd, expected.mjd)
    np.testing.assert_array_equal(seen.flux, expected.flux)


@pytest.mark.parametrize("seed", range(3))
def test_every_view_ends_with_its_triggering_detection(seed: int) -> None:
    _, seen, trigger = views(AugmentationRecipe(dim=0.5), seed)
    last = seen.splits[1:] - 1
    assert (seen.n_observations > 0).all()
    np.testing.assert_array_equal(seen.mjd[last], trigger)
    assert seen.detected[last].all()


def test_random_triggers_come_early() -> None:
    _, late, _ = views(NOTHING)
    _, early, _ = views(changed(early=1.0))
    assert 0.3 < early.n_observations.mean() / late.n_observations.mean() < 0.7


def test_dropping() -> None:
    _, full, _ = views(NOTHING)
    _, some, _ = views(changed(drop=1.0, drop_fraction=0.5))
    assert 0.65 < len(some.mjd) / len(full.mjd) < 0.85


def test_short_histories() -> None:
    _, seen, trigger = views(changed(short=1.0, short_days=1.5))
    age = np.repeat(trigger, seen.n_observations) - seen.mjd
    assert age.max() <= 1.5


def test_detections_only() -> None:
    curves, seen, _ = views(changed(detections_only=1.0))
    assert seen.detected.all()
    np.testing.assert_array_equal(seen.n_observations, n_detections(curves))


def test_dimming_keeps_the_errors_true() -> None:
    """At a fixed factor a the new flux is a x flux + noise of sqrt(1 - a^2) sigma."""
    curves, seen, _ = views(changed(dim=1.0, dim_mag=1.0), seed=4)
    first = seen.splits[:-1]
    ratio = seen.flux[first] / curves.flux[curves.splits[:-1]]
    assert 10**-0.4 - 0.1 < ratio.min() < ratio.max() < 1.1
    assert seen.flux_err[first].tolist() == curves.flux_err[curves.splits[:-1]].tolist()
    flat = replace(bright_curves(200), flux=np.full(8000, 1e5, np.float32))
    flat = replace(flat, flux_err=np.full(8000, 100.0, np.float32))
    dimmed, _ = alert_views(flat, np.random.default_rng(0), changed(dim=1.0))
    for start, end in zip(dimmed.splits[:-1], dimmed.splits[1:], strict=True):
        if end - start > 25:
            a = dimmed.flux[start:end].mean() / 1e5
            spread = dimmed.flux[start:end].std() / (100 * np.sqrt(1 - a**2))
            assert 0.5 < spread < 1.6


def test_a_curve_that_would_vanish_stays_as_it_is() -> None:
    curves = bright_curves(30)
    faint = replace(curves, flux=(5.1 * curves.flux_err).astype(np.float32))
    one = np.zeros(len(curves.mjd), np.bool_)
    one[curves.splits[:-1] + 7] = True
    faint = replace(faint, detected=one)
    how = changed(dim=1.0, dim_mag=3.0)
    seen, trigger = alert_views(faint, np.random.default_rng(1), how)
    assert n_detections(seen).tolist() == [1] * 30
    np.testing.assert_array_equal(trigger, faint.mjd[one])


def test_the_generator_decides() -> None:
    how = AugmentationRecipe(dim=0.5)
    _, a, _ = views(how, 1)
    _, b, _ = views(how, 1)
    _, c, _ = views(how, 2)
    np.testing.assert_array_equal(a.flux, b.flux)
    assert len(a.flux) != len(c.flux) or (a.flux != c.flux).any()


def of_survey(survey: str, n: int = 400) -> tuple[LightCurves, np.ndarray]:
    """Return curves of 60 observations over 600 days, one in three detected, and triggers."""
    bands = [band_index(survey, name) for name in "gri"]
    curves, _ = random_curves([60] * n, seed=3, bands=bands)
    day = np.tile(np.linspace(0.0, 600.0, 60), n)
    detected = np.arange(60 * n) % 3 == 2
    curves = replace(curves, mjd=60000 + day, detected=detected)
    return curves, at_last_detection(curves)


def ages(curves: LightCurves, trigger: np.ndarray) -> np.ndarray:
    return np.repeat(trigger, curves.n_observations) - curves.mjd


def test_a_ztf_alert_carries_thirty_days_with_limits_and_some_forced_fluxes() -> None:
    curves, trigger = of_survey("ztf")
    seen = as_alerts(curves, trigger, np.random.default_rng(0))
    assert 20 < ages(seen, trigger).max() <= 30
    assert (seen.flux[seen.detected] != 0).all()
    undetected = ~seen.detected
    zero = np.add.reduceat(undetected & (seen.flux == 0), seen.splits[:-1])
    all_of = np.add.reduceat(undetected, seen.splits[:-1])
    some = zero < all_of
    assert 0.2 < some.mean() < 0.35  # a third has forced fluxes, for a part of its exposures
    assert 0.15 < np.sum(zero[some]) / np.sum(all_of[some]) < 0.6


def test_an_lsst_alert_carries_a_year_and_seldom_what_was_before_the_first_detection() -> None:
    curves, trigger = of_survey("lsst")
    first = at_detection(curves, np.zeros(len(curves), np.int64))
    soon = first + 100.0
    seen = as_alerts(curves, soon, np.random.default_rng(0))
    earliest = seen.mjd[seen.splits[:-1]]
    assert set((earliest < first).tolist()) == {True, False}
    assert 0.1 < np.mean(earliest < first) < 0.3
    late = as_alerts(curves, trigger, np.random.default_rng(0))
    assert 350 < ages(late, trigger).max() <= 365
    kept = late.flux[~late.detected]
    assert (kept != 0).all()


def test_models_are_compared_on_the_same_alerts() -> None:
    curves, trigger = of_survey("ztf")
    carried = carried_by_alerts(1)
    np.testing.assert_array_equal(carried(curves, trigger).flux, carried(curves, trigger).flux)
