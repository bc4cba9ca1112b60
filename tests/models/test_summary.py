"""Summary features of curves that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.errors import DataError
from models.lightcurve import BANDS, DETECTION, FORCED, LightCurves, band_index
from models.summary import MISSING, SUMMARY_FEATURES, summary_features
from tests.models.supernovae import random_curves

G, R = band_index("ztf", "g"), band_index("ztf", "r")
COLUMN = {name: i for i, name in enumerate(SUMMARY_FEATURES)}


def curve() -> LightCurves:
    """Rise from 100 to 500 nJy in 4 d and fall to 300 in 2 d in g; two points of r."""
    return LightCurves.from_observations(
        curve=np.zeros(6, np.int64),
        mjd=np.array([10.0, 11.0, 14.0, 14.0, 16.0, 99.0]),
        band=np.array([G, R, G, R, G, G], np.uint8),
        flux=np.array([100, -200, 500, 250, 300, 9999], np.float32),
        flux_err=np.array([50, 50, 50, 50, 50, 50], np.float32),
        rank=np.array([FORCED, DETECTION, DETECTION, DETECTION, DETECTION, DETECTION], np.uint8),
        n_curves=1,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count_g", np.log(4)),
        ("detections_g", np.log(3)),
        ("max_flux_g", np.arcsinh(0.5)),
        ("min_flux_r", np.arcsinh(-0.2)),
        ("last_flux_g", np.arcsinh(0.3)),
        ("mean_flux_g", np.arcsinh(0.3)),
        ("max_snr_g", np.arcsinh(10)),
        ("min_snr_r", np.arcsinh(-4)),
        ("max_ratio_r", 0.5),
        ("min_ratio_g", 0.2),
        ("last_ratio_g", 0.6),
        ("since_max_g", 2.0),
        ("since_last_r", 2.0),
        ("span_g", 6.0),
        ("rise_g", 0.8 / 4),
        ("fall_g", -0.4 / 2),
        ("fall_r", MISSING),
        ("trend_r", 0.9 / 3),
        ("scatter_r", np.log(225 / 50)),
        ("chi2_g", np.log1p((200**2 + 200**2) / 50**2 / 2)),
        ("skew_g", 0.0),
        ("negative_r", 0.5),
        ("colour_max_gr", -250 / 750),
        ("colour_last_gr", (250 - 300) / 550),
        ("colour_last_ri", MISSING),
        ("log_scale", np.log(500)),
        ("observations", np.log(6)),
        ("all_detections", np.log(5)),
        ("since_first_detection", 5.0),
        ("before_first_detection", 1.0),
        ("since_peak", 2.0),
        ("trigger_flux", np.arcsinh(0.3)),
        ("trigger_snr", np.arcsinh(6)),
        ("longest_gap", 3.0),
        ("negative_detections", 0.25),
        ("count_u", MISSING),
    ],
)
def test_features_by_hand(name: str, expected: float) -> None:
    got = summary_features(curve(), np.array([16.0]))[0]
    assert got[COLUMN[name]] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_nothing_after_the_trigger_is_read() -> None:
    curves, trigger = random_curves([20, 40, 3], seed=1)
    early = trigger - 30.0
    cut = curves.where(curves.mjd <= np.repeat(early, curves.n_observations))
    np.testing.assert_array_equal(summary_features(curves, early), summary_features(cut, early))


def test_a_shift_in_time_changes_nothing() -> None:
    curves, trigger = random_curves([20, 40], seed=2)
    later = replace(curves, mjd=curves.mjd + 1024.0)
    np.testing.assert_array_equal(
        summary_features(curves, trigger), summary_features(later, trigger + 1024.0)
    )


def test_surveys_share_the_slots() -> None:
    """The same fluxes in r of LSST, ZTF and DES have the same features."""
    curves, trigger = random_curves([15], bands=[band_index("lsst", "r")])
    expected = summary_features(curves, trigger)
    for survey in ("ztf", "des"):
        same = replace(curves, band=np.full(15, band_index(survey, "r"), np.uint8))
        np.testing.assert_array_equal(summary_features(same, trigger), expected)


@pytest.mark.parametrize("lengths", [[1], [2], [0, 3], [300]])
def test_odd_curves_have_finite_features(lengths: list[int]) -> None:
    curves, _ = random_curves(lengths, bands=range(len(BANDS)))
    flat = replace(curves, flux=np.zeros(len(curves.mjd), np.float32))
    trigger = np.full(len(lengths), 1e6)
    for some in (curves, flat):
        assert np.isfinite(summary_features(some, trigger)).all()


def test_a_curve_without_observations_has_no_features() -> None:
    curves, _ = random_curves([5])
    assert (summary_features(curves, np.array([0.0])) == MISSING).all()


def test_one_trigger_per_curve() -> None:
    curves, trigger = random_curves([5, 5])
    with pytest.raises(DataError, match="1 trigger times for 2 curves"):
        summary_features(curves, trigger[:1])
