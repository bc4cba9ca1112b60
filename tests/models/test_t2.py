"""The baseline is the network that the paper describes."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from models.errors import ConfigurationError
from models.export import export_graph
from models.t2 import T2, T2Block, T2Config


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
    assert network(steps(channels=channels)).shape == (3, 14)


def test_probabilities_sum_to_one(network: T2) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(network(steps()).sum(-1), torch.ones(3))


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
        assert not torch.allclose(network(steps()), network(steps().flip(1)))


def test_dropout_is_off_in_evaluation_only(network: T2) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(network(steps()), network(steps()))
        trained = network.train()
        assert not torch.equal(trained(steps()), trained(steps()))
    network.eval()


def test_export_answers_as_the_network(network: T2) -> None:
    axes = {"steps": {0: torch.export.Dim("batch")}}
    content = export_graph(network, {"steps": steps().numpy()}, ("probabilities",), axes)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        (got,) = session.run(None, {"steps": steps(batch).numpy()})
        with torch.inference_mode():
            expected = network(steps(batch)).numpy()
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("width", [24, 33])
def test_a_width_that_cannot_be_split_is_refused(width: int) -> None:
    with pytest.raises(ConfigurationError, match=str(width)):
        T2Config(n_channels=2, width=width)
