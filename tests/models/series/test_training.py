from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import DataError
from models.series.network import NetworkConfig, SeriesNet, channels, n_parameters
from models.series.study import BUDGET
from models.series.summaries import summarise
from models.series.training import SeriesConfig, answers, fit
from tests.models.series.flares import series

QUICK = SeriesConfig(
    NetworkConfig(
        members=1, summary_members=1, filters=4, bottleneck=4, depth=1, summary=8, hidden=8
    ),
    epochs=15,
    batch=16,
    trees=20,
)


def sample(seed: int, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 3)
    return series(rng, label), label


def test_separable_classes_are_learned() -> None:
    network = fit(*sample(0), 3, seed=0, config=QUICK)
    flux, label = sample(1)
    probabilities = answers(network, flux)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities.argmax(axis=1) == label).mean() > 0.95


def test_labels_at_random_are_not_learned() -> None:
    flux, label = sample(2)
    shuffled = np.random.default_rng(3).permutation(label)
    other, truth = sample(4)
    guessed = answers(fit(flux, shuffled, 3, 0, QUICK), other).argmax(axis=1)
    assert (guessed == truth).mean() < 0.7


def test_the_seed_makes_the_network() -> None:
    flux, label = sample(5, 60)
    first, again, other = (answers(fit(flux, label, 3, s, QUICK), flux) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    fit(*sample(6, 60), 3, seed=1, config=QUICK)
    assert torch.equal(before, torch.get_rng_state())


def test_the_default_network_is_below_the_budget_of_the_comparison() -> None:
    summaries = summarise(np.zeros((1, 6, 36))).shape[1]
    assert n_parameters(SeriesNet(6, summaries, 14, SeriesConfig().network)) < BUDGET


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_answer_is_the_mean_of_the_members_sharpened(temperature: float) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(members=2, filters=4, depth=1, temperature=temperature)
    network = SeriesNet(6, 7, 3, config).eval()
    flux, summary = torch.randn(5, 6, 36) * 100, torch.randn(5, 7)
    read = channels(flux), network.standardised(summary)
    mean = torch.stack([m(*read).softmax(1) for m in network.members]).mean(0)
    power = mean ** (1 / temperature)
    expected = power / power.sum(1, keepdim=True)
    torch.testing.assert_close(network(flux, summary), expected)


def test_summaries_far_from_those_of_training_are_clipped() -> None:
    network = fit(*sample(8, 60), 3, seed=0, config=QUICK)
    flux = torch.zeros(1, 6, 36)
    far, farther = (network(flux, torch.full((1, len(network.gain)), x)) for x in (1e6, 1e12))
    torch.testing.assert_close(far, farther)


def test_how_bright_a_series_is_is_seen() -> None:
    flux, _ = sample(7, 20)
    faint, bright = (channels(torch.from_numpy(flux * f)) for f in (0.1, 10.0))
    assert not torch.allclose(faint, bright)
    relative = slice(12, 24)
    torch.testing.assert_close(faint[:, relative], bright[:, relative], atol=1e-2, rtol=0)


def test_a_class_without_series_is_refused() -> None:
    flux, label = sample(10, 30)
    with pytest.raises(DataError, match="each of 4 classes"):
        fit(flux, label, 4, seed=0, config=QUICK)
