"""The network ignores padding, survives empty rows and exports faithfully."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from models.errors import BundleError, ConfigurationError
from models.export import check_parity, to_onnx
from models.feature_sets import ObservationTokens
from models.features import INPUT_NAMES, TOKEN_CHANNELS, ModelInputs, model_inputs
from models.lightcurve import band_index
from models.networks import batch_tensors, curve_scores
from models.tiny import Tiny, TinyConfig
from tests.models.supernovae import random_curves

TOKENS = ObservationTokens()


def batch(lengths: list[int], padded: int = 32) -> ModelInputs:
    curves, trigger = random_curves(lengths)
    return model_inputs(curves, trigger, None, (padded,))[0]


def answer(network: Tiny, inputs: ModelInputs) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        probabilities, ood_score = network(*batch_tensors(inputs))
    return probabilities, ood_score


def test_shapes_and_sums(network: Tiny) -> None:
    probabilities, ood_score = answer(network, batch([1, 20, 32]))
    assert probabilities.shape == (3, 3)
    assert ood_score.shape == (3,)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3))


def test_what_is_masked_does_not_matter(network: Tiny) -> None:
    inputs = batch([4, 20])
    tokens = np.where(inputs.mask[..., None], inputs.tokens, 7e3).astype(np.float32)
    changed = replace(inputs, tokens=tokens)
    torch.testing.assert_close(answer(network, changed), answer(network, inputs))


def test_padding_does_not_matter(network: Tiny) -> None:
    short, long = batch([4, 20]), batch([4, 20], padded=256)
    torch.testing.assert_close(answer(network, short), answer(network, long))


def test_what_is_not_masked_does_matter(network: Tiny) -> None:
    inputs = batch([4, 20])
    changed = replace(inputs, mask=inputs.mask & (np.arange(32) != 1))
    assert not torch.equal(answer(network, changed)[0], answer(network, inputs)[0])


def test_a_fully_masked_row_is_finite_and_disturbs_no_other(network: Tiny) -> None:
    inputs = batch([4, 20])
    mask = inputs.mask.copy()
    mask[0] = False
    probabilities, ood_score = answer(network, replace(inputs, mask=mask))
    assert torch.isfinite(probabilities).all()
    assert torch.isfinite(ood_score).all()
    torch.testing.assert_close(probabilities[1], answer(network, inputs)[0][1])


def test_onnx_agrees_with_torch(network: Tiny, exported: bytes) -> None:
    assert check_parity(network, exported) <= 1e-5


def test_onnx_agrees_on_light_curves(network: Tiny, exported: bytes) -> None:
    inputs = batch([1, 3, 31], padded=64)
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    got = session.run(None, {name: getattr(inputs, name) for name in INPUT_NAMES})
    for want, have in zip(answer(network, inputs), got, strict=True):
        np.testing.assert_allclose(have, want.numpy(), atol=1e-5)


def test_another_network_does_not_pass_as_the_export(exported: bytes) -> None:
    torch.manual_seed(9)
    other = Tiny(TinyConfig(n_classes=3, width=8, latents=2, heads=2))
    with pytest.raises(BundleError, match="differs from the network by"):
        check_parity(other, exported)


def test_export_is_deterministic_and_carries_no_paths(network: Tiny, exported: bytes) -> None:
    assert to_onnx(network) == exported
    for trace in (b"site-packages", b".py", b"stack_trace", b"pkg.torch"):
        assert trace not in exported


def test_temperature_softens_but_keeps_the_order(network: Tiny) -> None:
    inputs = batch([5, 20])
    sharp = answer(network, inputs)
    network.temperature.fill_(2.0)
    soft = answer(network, inputs)
    network.temperature.fill_(1.0)
    assert (soft[0].max(-1).values < sharp[0].max(-1).values).all()
    assert torch.equal(soft[0].argmax(-1), sharp[0].argmax(-1))
    torch.testing.assert_close(soft[1], sharp[1])


def test_standardisation_is_of_the_training_inputs(network: Tiny) -> None:
    curves, trigger = random_curves([30] * 20, seed=8)
    batches = model_inputs(curves, trigger)
    model = Tiny(TinyConfig(n_classes=2, width=8, latents=2, heads=2))
    model.standardise(batches)
    tokens = np.concatenate([b.tokens[b.mask] for b in batches])
    encoded = model.encode(torch.from_numpy(tokens))[:, -(len(TOKEN_CHANNELS) - 2) :]
    torch.testing.assert_close(encoded.mean(0), torch.zeros(28), atol=1e-3, rtol=0)
    torch.testing.assert_close(encoded.std(0), torch.ones(28), atol=0.05, rtol=0)


def test_bands_that_training_did_not_have_have_no_say() -> None:
    """Context of u and y is constant in a data set of griz: it must not disturb LSST."""
    griz = [band_index("des", name) for name in "griz"]
    model = Tiny(TinyConfig(n_classes=2, width=8, latents=2, heads=2))
    model.standardise(model_inputs(*random_curves([30] * 20, bands=griz)))
    gains = dict(zip(TOKEN_CHANNELS, model.spread[-28:].sum(0).tolist(), strict=True))
    for kind in ("latest_flux", "latest_weight", "next_flux", "next_weight"):
        assert gains[f"{kind}_u"] == gains[f"{kind}_y"] == 0.0
        assert gains[f"{kind}_g"] > 0.0


def test_scores_are_in_the_order_of_the_curves(network: Tiny) -> None:
    curves, trigger = random_curves([40, 3, 100, 7])
    together, scores = curve_scores(network, TOKENS, curves, trigger)
    for row in range(4):
        some = curves.take(np.array([row]))
        alone, score = curve_scores(network, TOKENS, some, trigger[[row]])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
        np.testing.assert_allclose(score[0], scores[row], atol=1e-5)


def test_a_network_that_rejects_has_a_score_of_its_own() -> None:
    torch.manual_seed(1)
    model = Tiny(TinyConfig(n_classes=3, width=8, latents=2, heads=2, rejects=True)).eval()
    inputs = batch([5, 20])
    logits, score = model.scores(*batch_tensors(inputs))
    assert logits.shape == (2, 3)
    with torch.no_grad():
        model.head.bias[-1] += 5.0
    changed, raised = model.scores(*batch_tensors(inputs))
    assert torch.equal(changed, logits)
    torch.testing.assert_close(raised, score + 5.0)
    assert check_parity(model, to_onnx(model)) <= 1e-5


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigurationError, match="width 10 is not a multiple of 4 heads"):
        TinyConfig(n_classes=2, width=10)
