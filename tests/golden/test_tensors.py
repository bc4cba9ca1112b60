"""The tensors of real alerts stay what they are.

Serving code that reversed time or swapped bands has spoiled a deployment of
this kind of model before; here a change of any value fails.
"""

from __future__ import annotations

import numpy as np

from models.features import FEATURE_SPEC, OBJECT_CHANNELS, TOKEN_CHANNELS
from stream.alerts import AlertBatch
from tests.golden.make_tensors import TENSORS, decode, tensors

ALERTS = decode()


def test_tensors_are_those_on_file() -> None:
    got = tensors(ALERTS)
    with np.load(TENSORS) as expected:
        assert str(expected["feature_spec"]) == FEATURE_SPEC
        assert set(expected.files) == set(got)
        for name in set(got) - {"feature_spec"}:
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-6)


def test_time_runs_forward_and_ends_at_the_trigger() -> None:
    for name, tokens in tensors(ALERTS).items():
        if not name.startswith("tokens_"):
            continue
        mask = tensors(ALERTS)[name.replace("tokens", "mask")]
        for token, valid in zip(tokens, mask, strict=True):
            time = token[valid, TOKEN_CHANNELS.index("time")]
            assert (np.diff(time) >= 0).all()
            assert time[-1] == 0.0
            assert token[valid][-1, TOKEN_CHANNELS.index("detected")] == 1.0


def test_a_ztf_alert_by_hand(alerts: AlertBatch = ALERTS) -> None:
    """Check one triggering observation against the numbers in its packet."""
    row = alerts.object_id.to_pylist().index("ZTF18acullba")
    named = tensors(alerts)
    (length,) = (
        name.split("_")[1] for name in named if name.startswith("rows_") and row in named[name]
    )
    i = named[f"rows_{length}"].tolist().index(row)
    last = named[f"tokens_{length}"][i][named[f"mask_{length}"][i]][-1]
    token = dict(zip(TOKEN_CHANNELS, last.tolist(), strict=True))
    # magpsf 16.752947 +- 0.049726, negative difference, g band (4804.79 A).
    flux = -(10 ** ((31.4 - 16.752946853637695) / 2.5))
    flux_err = abs(flux) * 0.04972594231367111 * np.log(10) / 2.5
    objects = dict(zip(OBJECT_CHANNELS, named[f"objects_{length}"][i].tolist(), strict=True))
    scale = 10 ** objects["log_scale"]
    np.testing.assert_allclose(token["flux"], np.arcsinh(flux / scale), rtol=1e-4)
    np.testing.assert_allclose(token["log_flux_err"], np.log(flux_err / scale), rtol=1e-4)
    np.testing.assert_allclose(token["snr"], np.arcsinh(flux / flux_err), rtol=1e-4)
    np.testing.assert_allclose(token["log_wavelength"], np.log(4804.79 / 6000), rtol=1e-4)
    assert token["latest_weight_g"] == 1.0
    assert token["latest_flux_g"] == token["flux"]
    assert token["next_weight_g"] == 0.0
