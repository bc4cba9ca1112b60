"""The fast attention gives the values and gradients of the explicit one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.attention import attend
from models.t2 import T2Block, T2Config


def tensors(batch: int, length: int, width: int, spread: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(batch * length)
    shape = (batch, length, width)
    return [(torch.randn(shape, generator=generator) * spread).requires_grad_() for _ in range(3)]


def explicit(parts: list[Tensor], heads: int) -> Tensor:
    """Return the same in float64, by the code that is exported."""
    block = T2Block(T2Config(n_channels=2, width=parts[0].shape[-1], heads=heads))
    return block.mix(*(part.double() for part in parts))


@pytest.mark.parametrize("heads", [16, 4, 1])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, 7), (3, 100)])
def test_values_and_gradients(heads: int, batch: int, length: int) -> None:
    parts = tensors(batch, length, 32)
    found, expected = attend(parts[0], parts[1], parts[2], heads), explicit(parts, heads)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=2e-6)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(found, parts, upstream)
    wanted = torch.autograd.grad(expected, parts, upstream.double())
    for have, want in zip(got, wanted, strict=True):
        torch.testing.assert_close(have, want.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1e-20, 30.0])
def test_scores_of_any_size(spread: float) -> None:
    """At a spread of 30 the scores reach thousands: most weights are zero."""
    parts = tensors(2, 50, 8, spread)
    found = attend(parts[0], parts[1], parts[2], 4)
    expected = explicit(parts, 4).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3 * spread)
    for gradient in torch.autograd.grad(found.sum(), parts):
        assert torch.isfinite(gradient).all()


def test_what_is_not_contiguous() -> None:
    parts = [part.transpose(0, 1) for part in tensors(20, 3, 8)]
    torch.testing.assert_close(
        attend(parts[0], parts[1], parts[2], 4), explicit(parts, 4).float(), rtol=0, atol=2e-6
    )


def test_it_averages_the_values() -> None:
    """None of what is found lies outside of their range."""
    query, key, value = tensors(4, 100, 32)
    found = attend(query, key, value, 16)
    assert (found <= value.amax(1, keepdim=True) + 1e-5).all()
    assert (found >= value.amin(1, keepdim=True) - 1e-5).all()
