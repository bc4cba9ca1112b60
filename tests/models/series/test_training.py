from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import ConfigurationError, DataError
from models.series.network import NetworkConfig, SeriesNet, n_parameters
from models.series.study import BUDGET
from models.series.summaries import summarise
from models.series.training import SeriesConfig, altered, answers, fit, forest, soft_labels
from tests.models.series.flares import series

QUICK = SeriesConfig(NetworkConfig(members=2, width=8, hidden=8), epochs=12, views=1, trees=60)


def sample(seed: int, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 3)
    return series(rng, label), label


def test_separable_classes_are_learned() -> None:
    model = fit(*sample(0), 3, seed=0, config=QUICK).network
    flux, label = sample(1)
    probabilities = answers(model, flux)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities.argmax(axis=1) == label).mean() > 0.95


def test_labels_at_random_are_not_learned() -> None:
    flux, label = sample(2)
    shuffled = np.random.default_rng(3).permutation(label)
    other, truth = sample(4)
    accuracy = (
        answers(fit(flux, shuffled, 3, 0, QUICK).network, other).argmax(axis=1) == truth
    ).mean()
    assert accuracy < 0.7


def test_the_seed_makes_the_network() -> None:
    flux, label = sample(5)
    first, again, other = (answers(fit(flux, label, 3, s, QUICK).network, flux) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    fit(*sample(6, 60), 3, seed=1, config=QUICK)
    assert torch.equal(before, torch.get_rng_state())


def test_the_default_network_is_below_the_budget_of_the_comparison() -> None:
    n_features = summarise(sample(0, 3)[0]).shape[1]
    network = SeriesNet(n_features, 14, SeriesConfig().network)
    members, width, hidden = (
        network.config.members,
        network.config.width,
        network.config.hidden,
    )
    each = (n_features + 1) * width + (width + 1) * hidden + (hidden + 1) * 14
    assert n_parameters(network) == members * each < BUDGET


def test_the_answer_is_the_mean_of_the_members() -> None:
    torch.manual_seed(0)
    network = SeriesNet(10, 3, NetworkConfig(members=4)).eval()
    features = torch.randn(5, 10)
    expected = network.members(features).exp().mean(dim=0)
    torch.testing.assert_close(network(features).exp(), expected)


def test_soft_labels_do_not_repeat_what_trees_memorised() -> None:
    features = np.random.default_rng(9).normal(size=(200, 5)).astype(np.float32)
    label = np.arange(200) % 2
    soft = soft_labels(forest(features, label, 2, trees=60, seed=0))
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert soft[np.arange(200), label].mean() < 0.55


def test_a_class_without_series_is_refused() -> None:
    flux, label = sample(10, 30)
    with pytest.raises(DataError, match="each of 4 classes"):
        fit(flux, label, 4, seed=0, config=QUICK)


def test_too_few_trees_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 50"):
        fit(*sample(12, 30), 3, seed=0, config=SeriesConfig(trees=10))


def test_altered_series_are_like_the_originals_but_not_the_same() -> None:
    flux, _ = sample(11, 60)
    changed = altered(flux, np.random.default_rng(0))
    assert changed.shape == flux.shape and changed.dtype == np.float32
    assert (changed != flux).mean() > 0.99
    ratio = changed.std(axis=(1, 2)) / flux.std(axis=(1, 2))
    assert 0.8 < np.median(ratio) < 1.2
