"""Observing: noise, references, detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.lightcurve import BANDS
from models.simulate.dust import COEFFICIENTS, draw_reddening
from models.simulate.noise import flux_of_magnitude, lsst_error, ztf_error
from models.simulate.observatory import Observatory, open_observatory
from models.simulate.survey import observe
from models.simulate.visits import visit
from tests.models.simulate.constant_stars import Shining

STAR_NJY = float(flux_of_magnitude(np.array([19.0]))[0])


def test_constant_stars_have_the_noise_that_they_state(observatory: Observatory) -> None:
    star = Shining(STAR_NJY)
    rng = np.random.default_rng(1)
    curves, genuine = observe(star.draw(rng, 2000, "x"), True, False, observatory, rng)
    expected = np.mean(observatory.programme.scatter)
    ratio = curves.flux / curves.flux_err / expected
    typical = 1.4826 * np.median(np.abs(ratio))
    # ZTF states the noise of the sky alone, of which a star's photons are no part.
    sky_only = observatory.programme.sky_errors
    assert typical == pytest.approx(1, abs=0.2 if sky_only else 0.02)
    assert np.mean(ratio) == pytest.approx(0, abs=0.05)
    # A few measurements are worse than they state.
    assert 1.0 < np.mean(ratio**2) < (1.8 if sky_only else 1.15)
    assert not genuine.any()
    assert 0 < curves.detected.mean() < 0.003


def test_detections_are_significant_and_of_either_sign(observatory: Observatory) -> None:
    rng = np.random.default_rng(2)
    programme = observatory.programme
    mean, scatter = programme.detection_snr
    sure, missed = mean + 4 * scatter, np.mean(programme.missed)
    for change in (STAR_NJY, -0.8 * STAR_NJY):
        star = Shining(STAR_NJY, change)
        curves, _ = observe(star.draw(rng, 300, "x"), True, False, observatory, rng)
        snr = np.abs(curves.flux / curves.flux_err)
        assert snr[curves.detected].min() >= programme.faintest_snr - 1e-3
        assert curves.detected[snr > sure].mean() == pytest.approx(1 - missed, abs=0.03)
        assert (np.sign(curves.flux[curves.detected & (snr > 8)]) == np.sign(change)).mean() > 0.99


def test_the_difference_is_that_to_the_reference(observatory: Observatory) -> None:
    """A star that brightens by a half has no flux before and a half of its own after."""
    rng = np.random.default_rng(3)
    star = Shining(STAR_NJY, 0.5 * STAR_NJY)
    sources = star.draw(rng, 500, "x")
    curves, genuine = observe(sources, True, False, observatory, rng)
    after = curves.flux > 0.2 * STAR_NJY
    # Dust of the Milky Way dims by some percent.
    assert np.median(curves.flux[after]) == pytest.approx(0.45 * STAR_NJY, rel=0.1)
    quiet = curves.flux[~after]
    assert abs(np.median(quiet)) < 0.02 * STAR_NJY
    assert genuine[after].mean() > 0.9


def test_a_transient_has_no_reference(observatory: Observatory) -> None:
    rng = np.random.default_rng(4)
    star = Shining(STAR_NJY)
    curves, _ = observe(star.draw(rng, 200, "x"), False, False, observatory, rng)
    assert np.median(curves.flux) == pytest.approx(0.9 * STAR_NJY, rel=0.1)


def test_saturated_sources_are_not_measured(observatory: Observatory) -> None:
    rng = np.random.default_rng(5)
    bright = Shining(float(flux_of_magnitude(np.array([10.0]))[0]))
    curves, genuine = observe(bright.draw(rng, 50, "x"), True, False, observatory, rng)
    assert len(curves) == 50
    assert curves.n_observations.sum() == len(genuine) == 0


def test_every_window_has_an_exposure_and_margins(observatory: Observatory) -> None:
    rng = np.random.default_rng(6)
    half = np.full(400, 5.0)
    visits = visit(-half, half, False, observatory, rng)
    assert np.abs(visits.days).max() <= 35 + 1e-6
    # Only thinning of the public programme may take the exposure in the window away.
    seen = np.unique(visits.source[np.abs(visits.days) <= 5])
    assert len(seen) > 200
    if observatory.survey == "lsst":
        assert len(seen) == 400


def test_public_nights_of_ztf_are_thinned_as_a_whole(inputs: Path) -> None:
    ztf = open_observatory(inputs, "ztf")
    rng = np.random.default_rng(7)
    half = np.full(2000, 60.0)
    visits = visit(-half, half, False, ztf, rng)
    everything = 180 / 2 * 3 * 220 / 300
    assert 0.3 < np.bincount(visits.source).mean() / everything < 0.8
    night = visits.source * 10**6 + np.floor(visits.mjd).astype(int)
    g = np.unique(night[visits.band == 6])
    r = np.unique(night[visits.band == 7])
    # g and r are public on the same nights.
    assert np.isin(g, r).mean() > 0.99


def test_ztf_errors_follow_the_measured_ones() -> None:
    """Medians of real transients at magnitudes 16.5 to 19.5, with the median limit of 20.2."""
    depth = np.full(4, 1000.0)
    difference = depth * 10 ** (0.4 * np.array([0.7, 1.7, 2.7, 3.7]))
    error = ztf_error(depth, difference, difference, np.ones(4))
    magnitude_error = 2.5 / np.log(10) * error / difference
    assert magnitude_error == pytest.approx([0.139, 0.086, 0.054, 0.037], rel=0.15)


def test_lsst_errors_follow_the_formula_of_lse_40() -> None:
    magnitude, depth_mag = np.array([24.0, 22.0, 20.0]), 24.0
    x = 10 ** (0.4 * (magnitude - depth_mag))
    expected = np.sqrt((0.04 - 0.039) * x + 0.039 * x**2 + 0.005**2)
    total = flux_of_magnitude(magnitude)
    depth = flux_of_magnitude(np.full(3, depth_mag))
    error = lsst_error(depth, total, np.zeros(3), np.ones(3))
    assert 2.5 / np.log(10) * error / total == pytest.approx(expected, rel=1e-6)


def test_dust_grows_towards_the_plane_and_reddens() -> None:
    rng = np.random.default_rng(8)
    high = draw_reddening(rng, np.full(4000, 70.0), False)
    low = draw_reddening(rng, np.full(4000, 15.0), False)
    assert np.median(high) == pytest.approx(0.019, rel=0.1)
    assert np.median(low) > 3 * np.median(high)
    lsst = [i for i, band in enumerate(BANDS) if band.survey == "lsst"]
    assert (np.diff(COEFFICIENTS[lsst]) < 0).all()
