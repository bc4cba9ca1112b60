"""Rounded weights are few values, rounding them again changes nothing, gradients pass."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compress.rounding import Codebook, Scaled, Scheme, entries, rounding, scales

SCHEMES = get_args(Scheme)


def weights(seed: int = 0, rows: int = 40, columns: int = 30) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.3


def rounded(scheme: Scheme, weight: Tensor) -> Tensor:
    module = rounding(scheme, weight)
    return weight if module is None else module(weight).detach()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounding_what_is_rounded_changes_no_bit(scheme: Scheme) -> None:
    once = rounded(scheme, weights())
    assert torch.equal(rounded(scheme, once), once)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 300.0])
@pytest.mark.parametrize("bits", [4, 8])
def test_scaled_weights_are_codes_times_scales_at_any_size(bits: int, scale: float) -> None:
    weight = weights() * scale
    weight[3] = 0
    once = Scaled(bits)(weight)
    rows = scales(once, bits)[:, None]
    codes = torch.round(once / rows)
    assert torch.equal(codes * rows, once)
    assert codes.abs().max() <= 2 ** (bits - 1) - 1
    assert torch.equal(Scaled(bits)(once), once)
    assert (once - weight).abs().max() <= scales(weight, bits).max() / 2 * 1.001


@pytest.mark.parametrize(("scheme", "most"), [("uint4", 16), ("uint8", 150), ("int4", 15)])
def test_few_values_are_left(scheme: Scheme, most: int) -> None:
    found = rounded(scheme, weights())
    per_row = max(len(torch.unique(row)) for row in found)
    assert (per_row if scheme == "int4" else len(torch.unique(found))) <= most
    assert (found - weights()).abs().mean() < 0.05


def test_small_tensors_get_small_codebooks() -> None:
    assert entries(100_000, 8) == 256
    assert entries(640, 8) == 80
    assert entries(8, 4) == 2


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "float32"])
def test_the_gradient_reaches_the_weights_behind(scheme: Scheme) -> None:
    layer = nn.Linear(30, 40)
    module = rounding(scheme, layer.weight)
    assert module is not None
    parametrize.register_parametrization(layer, "weight", module)
    layer(torch.ones(1, 30)).sum().backward()
    behind = dict(layer.named_parameters())["parametrizations.weight.original"]
    assert behind.grad is not None
    assert torch.equal(behind.grad, torch.ones(40, 30))
    if isinstance(module, Codebook):
        assert module.entries.grad is not None
        # Each entry gets the sum over the weights that chose it.
        assert module.entries.grad.sum() == pytest.approx(1200)
        assert (module.entries.grad > 0).all()
