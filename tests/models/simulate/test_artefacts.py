"""Detections that are no objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.augment import n_detections
from models.errors import ConfigurationError
from models.lightcurve import LightCurves
from models.simulate.artefacts import KINDS, artefacts, artefacts_of_kind, flattened
from models.simulate.observatory import Observatory


def _owner(curves: LightCurves) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(curves)), curves.n_observations)


def _made(kind: str, observatory: Observatory) -> LightCurves:
    return artefacts_of_kind(kind, 200, observatory, np.random.default_rng(1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_significant_detections(kind: str, observatory: Observatory) -> None:
    curves = _made(kind, observatory)
    assert len(curves) == 200
    assert (n_detections(curves) >= 1).all()
    snr = np.abs(curves.flux / curves.flux_err)
    assert snr[curves.detected].min() >= observatory.programme.faintest_snr - 1e-3


def test_flat_curves_have_weak_detections_only(observatory: Observatory) -> None:
    curves = _made("flat", observatory)
    snr = np.abs(curves.flux / curves.flux_err)
    assert np.percentile(snr[curves.detected], 90) < 9
    assert n_detections(curves).max() <= 4
    quiet = (curves.flux / curves.flux_err)[~curves.detected]
    assert np.std(quiet) == pytest.approx(np.mean(observatory.programme.scatter), abs=0.2)


def test_bad_subtractions_are_of_one_band_and_either_sign(observatory: Observatory) -> None:
    curves = _made("bad subtraction", observatory)
    strong = curves.detected & (np.abs(curves.flux / curves.flux_err) > 7)
    pairs = np.unique(np.stack([_owner(curves)[strong], curves.band[strong]]), axis=1)
    # A few curves have an outlier of their noise, too.
    assert (np.bincount(pairs[0]) <= 1).mean() > 0.95
    assert 0.4 < (curves.flux[strong] > 0).mean() < 0.6
    assert (np.bincount(_owner(curves)[strong]) <= 3).mean() > 0.97


def test_moving_objects_are_seen_in_one_night(observatory: Observatory) -> None:
    curves = _made("moving object", observatory)
    strong = curves.detected & (np.abs(curves.flux / curves.flux_err) > 8)
    owner, mjd = _owner(curves)[strong], curves.mjd[strong]
    gaps = np.diff(mjd)[np.diff(owner) == 0]
    assert len(gaps) > 20 and (gaps < 0.5).mean() > 0.9
    assert (curves.flux[strong] > 0).mean() > 0.98


def test_constant_offsets_keep_their_sign(observatory: Observatory) -> None:
    curves = _made("constant offset", observatory)
    owner = _owner(curves)
    positive = np.bincount(owner[curves.detected & (curves.flux > 0)], minlength=200)
    negative = np.bincount(owner[curves.detected & (curves.flux < 0)], minlength=200)
    assert (np.minimum(positive, negative) == 0).mean() > 0.95
    assert 0.3 < (positive > negative).mean() < 0.7
    assert np.median(n_detections(curves) / curves.n_observations) > 0.3


def test_ghosts_are_erratic(observatory: Observatory) -> None:
    curves = _made("ghost", observatory)
    seen = np.flatnonzero(n_detections(curves) >= 5)
    assert len(seen) > 30
    owner = _owner(curves)
    spread = [
        np.ptp(np.log(np.abs(curves.flux[curves.detected & (owner == row)]))) for row in seen[:30]
    ]
    assert np.median(spread) > 1


def test_kinds_share_the_number_and_seeds_repeat(inputs: Path) -> None:
    first, again = (artefacts(23, "ztf", np.random.default_rng(5), inputs) for _ in range(2))
    assert len(first) == 23
    assert np.array_equal(first.flux, again.flux)
    some = artefacts(4, "lsst", np.random.default_rng(5), inputs, kinds=("ghost", "flat"))
    assert len(some) == 4
    with pytest.raises(ConfigurationError, match="no artefact 'satellite'; known: flat"):
        artefacts(4, "lsst", np.random.default_rng(5), inputs, kinds=("satellite",))


def test_flattened_curves_do_not_vary(inputs: Path) -> None:
    seen = artefacts(240, "ztf", np.random.default_rng(1), inputs)
    flat = flattened(seen, np.random.default_rng(2))
    assert len(flat) == 240
    magnitude = 31.4 - 2.5 * np.log10(np.abs(flat.flux[flat.detected]))
    assert magnitude.min() < 13.5 and magnitude.max() > 25
    count = flat.n_observations
    single = count == 1
    assert 0.2 < single.mean() < 0.5
    detections = np.add.reduceat(flat.detected, flat.splits[:-1])
    silent = (detections == 0) & ~single
    assert 0.2 < silent.mean() < 0.45
    for row in np.flatnonzero(~single & ~silent)[:40]:
        some = slice(flat.splits[row], flat.splits[row + 1])
        for band in np.unique(flat.band[some]):
            of_band = flat.band[some] == band
            flux, error = flat.flux[some][of_band], flat.flux_err[some][of_band]
            chi = (flux - np.average(flux, weights=error**-2.0)) / error
            assert (chi**2).sum() < 4 * max(len(flux) - 1, 1) + 12
