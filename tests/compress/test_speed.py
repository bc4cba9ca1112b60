"""Times are taken together, and compared with the first model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.speed import BATCHES, speeds
from models.networks import build
from models.recipe import NetworkRecipe
from tests.compress.bundles import quiet, untrained


def test_ratios_are_to_the_first_model(tmp_path: Path) -> None:
    """A network fourteen times wider is slower, whoever is named first."""
    small, large = (
        untrained(build(NetworkRecipe(width=w, latents=2, heads=2), 3, False, 0), tmp_path / str(w))
        for w in (8, 112)
    )
    found = speeds({"large": large, "small": small}, rounds=5, lengths=(32,), console=quiet())
    assert [(s.length, s.batch) for s in found["large"]] == [(32, batch) for batch in BATCHES]
    for first, other in zip(found["large"], found["small"], strict=True):
        assert (first.ratio, first.ratio_with_features) == (1.0, 1.0)
        assert other.ratio > 1.05
        assert 0 < other.us_per_alert < first.us_per_alert
        assert other.us_with_features > other.us_per_alert
        assert other.ratio == pytest.approx(first.us_per_alert / other.us_per_alert, rel=0.5)
    one, many = (s.us_per_alert for s in found["small"])
    assert many < one
