"""The baseline is the network that the paper describes."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime as ort
import pytest
import torch
from sklearn.preprocessing import RobustScaler
from torch import Tensor, nn

from models.errors import ConfigurationError
from models.export import check_parity, to_onnx
from models.feature_sets import ProcessGrid
from models.gp import Grids
from models.t2 import T2, T2Block, T2Config
from tests.models.supernovae import random_curves


@pytest.fixture(scope="module")
def network() -> T2:
    torch.manual_seed(0)
    return T2(T2Config(n_channels=2)).eval()


def steps(batch: int = 3, channels: int = 2) -> Tensor:
    return torch.randn(batch, 100, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("channels", "parameters"), [(2, 13_262), (6, 13_390)])
def test_it_has_as_many_parameters_as_published(channels: int, parameters: int) -> None:
    network = T2(T2Config(n_channels=channels))
    assert sum(p.numel() for p in network.parameters()) == parameters
    probabilities, ood_score = network(steps(channels=channels))
    assert (probabilities.shape, ood_score.shape) == ((3, 14), (3,))


def test_probabilities_sum_to_one(network: T2) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(network(steps())[0].sum(-1), torch.ones(3))


def test_the_block_is_the_post_norm_encoder_layer_of_torch() -> None:
    torch.manual_seed(2)
    block = T2Block(T2Config(n_channels=2)).eval()
    reference = nn.TransformerEncoderLayer(
        32, 16, dim_feedforward=128, layer_norm_eps=1e-6, batch_first=True
    ).eval()
    parts = [block.query, block.key, block.value]
    theirs = reference.self_attn
    assert isinstance(theirs.in_proj_weight, Tensor)
    with torch.inference_mode():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(block.out.state_dict())
        reference.linear1.load_state_dict(block.feed_forward[0].state_dict())
        reference.linear2.load_state_dict(block.feed_forward[2].state_dict())
        x = torch.randn(4, 100, 32)
        torch.testing.assert_close(block(x), reference(x))


def test_positions_are_sines_and_cosines_of_the_index(network: T2) -> None:
    assert network.position.shape == (100, 32)
    for index, i in ((0, 0), (7, 3), (99, 15)):
        angle = index / 10000 ** (2 * i / 32)
        expected = torch.tensor([np.sin(angle), np.cos(angle)], dtype=torch.float32)
        torch.testing.assert_close(network.position[index, 2 * i : 2 * i + 2], expected)


def test_the_order_of_the_steps_matters(network: T2) -> None:
    with torch.inference_mode():
        assert not torch.allclose(network(steps())[0], network(steps().flip(1))[0])


def test_dropout_is_off_in_evaluation_only(network: T2) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(network.scores(steps())[0], network.scores(steps())[0])
        trained = network.train()
        assert not torch.equal(trained.scores(steps())[0], trained.scores(steps())[0])
    network.eval()


def test_the_scaler_is_the_robust_one_of_scikit_learn(network: T2) -> None:
    fluxes = [steps(50) * torch.tensor([300.0, 20.0]) + torch.tensor([5.0, -70.0]), steps(7)]
    chunks = [Grids(np.arange(len(f)), f.numpy()) for f in fluxes]
    scaled = copy.deepcopy(network)
    scaled.standardise(chunks)
    scaler = RobustScaler().fit(torch.cat(fluxes).flatten(0, 1).numpy())
    expected = torch.from_numpy(scaler.transform(fluxes[1].flatten(0, 1).numpy()))
    with torch.inference_mode():
        torch.testing.assert_close(
            scaled.scores(fluxes[1])[0], network.scores(expected.float().reshape(7, 100, 2))[0]
        )


def test_a_channel_that_never_varies_is_not_read(network: T2) -> None:
    scaled = copy.deepcopy(network)
    constant = steps(20)
    constant[..., 1] = 3.0
    scaled.standardise([Grids(np.arange(20), constant.numpy())])
    with torch.inference_mode():
        other = constant.clone()
        other[..., 1] = -8.0
        torch.testing.assert_close(scaled.scores(constant)[0], scaled.scores(other)[0])


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e10, 1e30])
def test_extreme_fluxes_get_finite_answers(network: T2, factor: float) -> None:
    with torch.inference_mode():
        for answer in network(steps() * factor):
            assert torch.isfinite(answer).all()


def test_the_temperature_does_not_touch_the_logits(network: T2) -> None:
    warm = copy.deepcopy(network)
    warm.temperature.fill_(2.0)
    with torch.inference_mode():
        probabilities, ood_score = warm(steps())
        logits = network.scores(steps())[0]
        torch.testing.assert_close(probabilities, torch.softmax(logits / 2, -1))
        torch.testing.assert_close(ood_score, -torch.logsumexp(logits, -1))


def test_export_answers_as_the_network(network: T2) -> None:
    features = ProcessGrid(("ztf:g", "ztf:r"))
    scaled = copy.deepcopy(network)
    scaled.standardise(features.inputs(*random_curves([30] * 20)))
    content = to_onnx(scaled, features)
    assert check_parity(scaled, content, features) <= 1e-5
    assert to_onnx(scaled, features) == content
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        got = session.run(None, {"steps": steps(batch).numpy()})
        with torch.inference_mode():
            expected = scaled(steps(batch))
        for have, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(have, want.numpy(), atol=1e-5)


@pytest.mark.parametrize("width", [24, 33])
def test_a_width_that_cannot_be_split_is_refused(width: int) -> None:
    with pytest.raises(ConfigurationError, match=str(width)):
        T2Config(n_channels=2, width=width)
