"""Distances, and redshifts of what a survey detects."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ConfigurationError
from models.simulate.transients.volume import (
    Redshifts,
    distance_modulus,
    place,
    star_formation_rate,
    survey_depth,
)


def uniform(z_max: float = 1.0) -> Redshifts:
    return Redshifts(np.ones_like, z_max)


def test_distance_modulus_agrees_with_astropy() -> None:
    cosmology = pytest.importorskip("astropy.cosmology")
    z = np.array([0.003, 0.05, 0.3, 1.0, 2.5])
    expected = cosmology.FlatLambdaCDM(H0=70.0, Om0=0.3).distmod(z).value
    np.testing.assert_allclose(distance_modulus(z), expected, atol=2e-3)


def test_near_sources_are_uniform_in_volume() -> None:
    z = uniform().draw(np.random.default_rng(1), np.full(100_000, 0.05))
    assert z.max() <= 0.05
    assert (z < 0.025).mean() == pytest.approx(1 / 8, abs=0.01)


def test_a_growing_rate_moves_sources_outward() -> None:
    limit = np.full(20_000, 1.0)
    constant = uniform().draw(np.random.default_rng(1), limit)
    growing = Redshifts(star_formation_rate, 1.0).draw(np.random.default_rng(1), limit)
    assert np.median(growing) > np.median(constant) + 0.03


def test_the_limit_is_where_the_peak_has_the_depth() -> None:
    z = uniform(2.0).limit(np.array([-19.0, -17.0, -25.0]), np.array([20.0, 20.0, 24.0]))
    np.testing.assert_allclose(distance_modulus(z[:2]), [39.0, 37.0], atol=1e-3)
    assert z[2] == 2.0


def test_luminous_candidates_are_chosen_by_their_volume() -> None:
    magnitude = np.tile([-17.0, -16.0], (40_000, 1))
    depth = np.full(len(magnitude), 16.0)
    faint = uniform().choose(np.random.default_rng(2), magnitude, depth).mean()
    # One magnitude is a factor of 10^0.6 in a Euclidean volume.
    assert faint == pytest.approx(1 / (1 + 10**0.6), abs=0.015)


def test_place_brings_absorbed_sources_within_reach() -> None:
    depth = np.full(2_000, 20.0)
    magnitude = np.full(2_000, -19.0)

    def absorbed(z: np.ndarray) -> np.ndarray:
        return np.asarray(-19.0 + 1.5 + distance_modulus(z))

    z = place(np.random.default_rng(3), uniform(), magnitude, depth, absorbed)
    assert (absorbed(z) <= depth).mean() > 0.99
    first = uniform().draw(np.random.default_rng(3), uniform().limit(magnitude, depth))
    assert (absorbed(first) <= depth).mean() < 0.3


def test_an_unknown_survey_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="known: ztf, lsst"):
        survey_depth(np.random.default_rng(0), 1, "sdss")
