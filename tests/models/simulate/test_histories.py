"""Simulated histories beside those of real ZTF alerts; needs the real inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.augment import as_alerts, n_detections, random_detection
from models.lightcurve import AB_ZERO_POINT_NJY, LightCurves, band_index
from models.simulate.simulation import simulate
from models.simulate.variables import variable_populations

CLASSES = ("AGN", "RRL", "EB", "mu-Lens", "Mira", "DN")


@pytest.fixture(scope="module")
def real(real_inputs: Path) -> Any:
    return json.loads((real_inputs / "ztf_noise.json").read_text())


@pytest.fixture(scope="module")
def curves(real_inputs: Path) -> LightCurves:
    classes = {p.name: p for p in variable_populations(real_inputs) if p.name in CLASSES}
    return simulate(300, "ztf", 1, real_inputs, classes=classes).curves


@pytest.fixture(scope="module")
def alerts(curves: LightCurves) -> LightCurves:
    rng = np.random.default_rng(1)
    return as_alerts(curves, random_detection(curves, rng), rng)


def test_histories_are_as_long_as_real_ones(real: Any, alerts: LightCurves) -> None:
    histories = real["histories"]
    detections = n_detections(alerts)
    limits = alerts.n_observations - detections
    for simulated, measured, slack in (
        (detections, histories["n_detections"], 5),
        (limits, histories["n_upper_limits"], 5),
    ):
        for level, value in zip((50, 75, 90), measured[4:7], strict=True):
            assert np.percentile(simulated, level) == pytest.approx(value, rel=0.5, abs=slack)


def test_gaps_are_those_of_the_public_programme(real: Any, alerts: LightCurves) -> None:
    owner = np.repeat(np.arange(len(alerts)), alerts.n_observations)
    gaps = np.diff(alerts.mjd)[np.diff(owner) == 0]
    measured = real["histories"]["gap_days_between_all_epochs"]
    assert np.percentile(gaps, 90) == pytest.approx(measured[6], rel=0.4)
    assert np.percentile(gaps, 95) == pytest.approx(measured[7], rel=0.4)


def test_errors_are_those_of_real_alerts(real: Any, curves: LightCurves) -> None:
    magnitude = AB_ZERO_POINT_NJY - 2.5 * np.log10(np.abs(curves.flux))
    error = 2.5 / np.log(10) * curves.flux_err / np.abs(curves.flux)
    for name in "gr":
        mine = curves.detected & (curves.band == band_index("ztf", name))
        for row in real["sigma_mag_by_mag"][name]:
            near = mine & (np.abs(magnitude - row["mag"]) < 0.25)
            if 14.5 < row["mag"] < 19.5:
                # The real sample is rich in supernovae, where no star adds its photons.
                assert row["sigma"][1] < np.median(error[near]) < row["sigma"][5]
