"""Other mixes of classes than in training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.calibrate import estimate_mix, prior_shift
from models.errors import ConfigurationError

HALVES = np.array([0.5, 0.5])


def test_prior_shift_by_hand() -> None:
    # .6 * 1.8 and .4 * .2 to the sum 1.16.
    got = prior_shift(np.array([[0.6, 0.4]]), HALVES, np.array([0.9, 0.1]))
    np.testing.assert_allclose(got, [[1.08 / 1.16, 0.08 / 1.16]])


def test_the_same_mix_changes_nothing() -> None:
    chances = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    mix = np.array([2.0, 1.0, 1.0])
    np.testing.assert_allclose(prior_shift(chances, mix, mix / 4), chances)


def test_a_class_that_does_not_occur_is_never_answered() -> None:
    got = prior_shift(np.array([[0.6, 0.4], [0.0, 1.0]]), HALVES, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(got, [[1.0, 0.0], [0.0, 1.0]])


def sample(mix: npt.NDArray[np.float64], n: int, seed: int) -> npt.NDArray[np.float64]:
    """Return exact probabilities, for equal classes, of two normal distributions 2 apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0 * (rng.random(n) < mix[1]), 1.0)
    second = 1 / (1 + np.exp(-2 * (x - 1)))
    return np.stack([1 - second, second], 1)


def test_the_shift_makes_probabilities_right_for_another_mix() -> None:
    mix = np.array([0.9, 0.1])
    got = prior_shift(sample(mix, 50_000, 0), HALVES, mix)
    np.testing.assert_allclose(got.mean(axis=0), mix, atol=0.005)


@pytest.mark.parametrize("second", [0.05, 0.5, 0.8])
def test_the_mix_of_unlabelled_alerts_is_found(second: float) -> None:
    mix = np.array([1 - second, second])
    found = estimate_mix(sample(mix, 50_000, 1), HALVES)
    np.testing.assert_allclose(found, mix, atol=0.015)
    assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("trained", "stated", "said"),
    [
        ([0.5, 0.5, 0.0], [0.5, 0.5], "trained mix must be 2 fractions"),
        ([0.5, 0.5], [-0.1, 1.1], "stated mix must be 2 fractions"),
        ([0.5, 0.5], [0.0, 0.0], "not all 0"),
        ([0.5, np.nan], [0.5, 0.5], "trained mix must be"),
        ([1.0, 0.0], [0.5, 0.5], "must have every class"),
    ],
)
def test_mixes_that_are_none_are_refused(
    trained: list[float], stated: list[float], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        prior_shift(np.array([[0.5, 0.5]]), np.array(trained), np.array(stated))
