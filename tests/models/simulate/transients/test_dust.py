"""Extinction against its definition and published values."""

from __future__ import annotations

import numpy as np
import pytest

from models.simulate.transients.dust import R_V, reddening


def test_one_magnitude_between_b_and_v_by_definition() -> None:
    b, v = reddening(np.array([4380.0, 5495.0]))
    assert b - v == pytest.approx(1.0, abs=0.03)
    assert v == pytest.approx(R_V, abs=0.02)


@pytest.mark.parametrize(
    ("wavelength", "relative"),
    [(2175.0, 3.19), (1500.0, 2.66), (12500.0, 0.282), (3650.0, 1.562), (9000.0, 0.479)],
)
def test_ratios_to_visual_extinction(wavelength: float, relative: float) -> None:
    """About the values of Cardelli et al. 1989, table 3 (R_V = 3.1)."""
    ratio = reddening(np.array([wavelength]))[0] / R_V
    assert ratio == pytest.approx(relative, rel=0.03)


def test_agrees_with_the_extinction_package() -> None:
    extinction = pytest.importorskip("extinction")
    wavelength = np.geomspace(1000.0, 20000.0, 300)
    expected = extinction.odonnell94(wavelength, R_V, R_V)
    np.testing.assert_allclose(reddening(wavelength), expected, rtol=1e-9)
