"""The populations on the real spectra: literature values of peaks and colours.

Run with TINYT2_DATA naming a folder whose ``sim/sed`` has the files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.lightcurve import band_index
from models.simulate.source import Population
from models.simulate.transients import transient_populations
from models.simulate.transients.population import SpectralPopulation
from models.simulate.transients.spectral import SpectralSources
from models.simulate.transients.thermonuclear import M_B
from models.simulate.transients.volume import distance_modulus

G, R, NEAR_IR = (band_index("lsst", b) for b in "gri")
NEAR = 0.0025


@pytest.fixture(scope="module")
def populations(real_inputs: Path) -> dict[str, Population]:
    return {p.name: p for p in transient_populations(real_inputs)}


def standard(population: Population, series: int, magnitude: float) -> SpectralSources:
    """One source at the distance of NEAR, without dust or deviations."""
    assert isinstance(population, SpectralPopulation)
    drawn = population.draw_sources(np.random.default_rng(1), np.zeros(1, np.int64), "ztf")
    zero = np.zeros(1)
    return replace(
        drawn,
        series=np.array([series]),
        z=zero + NEAR,
        magnitude=zero + magnitude,
        shape=zero,
        colour=zero,
        stretch=zero + 1.0,
        offset=np.zeros_like(drawn.offset),
    )


def magnitudes(
    sources: SpectralSources, days: npt.NDArray[np.float64], band: int
) -> npt.NDArray[np.float64]:
    """Absolute magnitudes, without K-correction."""
    flux = sources.flux(np.zeros(len(days), np.int64), days, np.full(len(days), band, np.uint8))
    return 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-30)) - distance_modulus(sources.z)


@pytest.mark.parametrize("series", [0, 1])
def test_sne_ia_at_maximum(populations: dict[str, Population], series: int) -> None:
    """AB: g about -19.4 and g - r about 0 at maximum; dm15 in B of 1.1, in g of 0.7 to 1."""
    source = standard(populations["SNIa"], series, M_B)
    days = np.array([0.0, 15.0, 28.0])
    g, r, i = (magnitudes(source, days, band) for band in (G, R, NEAR_IR))
    assert g[0] == pytest.approx(-19.4, abs=0.1)
    assert g[0] - r[0] == pytest.approx(-0.1, abs=0.15)
    assert r[0] - i[0] < -0.2
    assert 0.6 < g[1] - g[0] < 1.1
    assert g[2] - r[2] > 0.5


def test_91bg_are_red_and_fast(populations: dict[str, Population]) -> None:
    fast = standard(populations["SNIa-91bg"], 6, -16.8)
    normal = standard(populations["SNIa"], 0, M_B)
    days = np.array([0.0, 15.0])
    colour = magnitudes(fast, days, G)[0] - magnitudes(fast, days, R)[0]
    assert colour > 0.3
    decline = [np.diff(magnitudes(s, days, G))[0] for s in (fast, normal)]
    assert decline[0] > decline[1] + 0.4


def test_iax_are_faint_and_fast_in_blue_and_slow_in_the_tail(
    populations: dict[str, Population],
) -> None:
    source = standard(populations["SNIax"], 0, -18.1)
    days = np.array([0.0, 15.0, 50.0, 80.0])
    g, r, i = (magnitudes(source, days, band) for band in (G, R, NEAR_IR))
    assert 1.0 < g[1] - g[0] < 1.7
    assert 0.0 < r[1] - r[0] < 0.8
    assert 0.3 < r[3] - r[2] < 0.8
    daily = np.arange(10.0, 50.0)
    assert (np.diff(magnitudes(source, daily, NEAR_IR)) > 0).all(), "a second maximum"
    assert i[0] > g[0] - 0.1


def test_stripped_supernovae_are_redder_than_sne_ia(populations: dict[str, Population]) -> None:
    population = populations["SNIbc"]
    assert isinstance(population, SpectralPopulation)
    colours = []
    for series in range(len(population.series.group)):
        source = standard(population, series, -17.5)
        days = np.linspace(-10.0, 15.0, 51)
        colours.append(magnitudes(source, days, G).min() - magnitudes(source, days, R).min())
    assert 0.1 < np.median(colours) < 0.8


def test_core_collapse_pairs_are_one_group(populations: dict[str, Population]) -> None:
    assert {len(populations[name].groups) for name in ("SNIbc", "SNII")} == {17, 27}


@pytest.mark.parametrize("name", ["SNIa", "SNIbc", "SNII", "SNIax", "SNIa-91bg"])
def test_redshifts_overlap_those_of_plasticc(
    populations: dict[str, Population], name: str, real_inputs: Path
) -> None:
    """Medians of LSST sources within a factor of two of PLAsTiCC's training set."""
    table = np.genfromtxt(
        real_inputs.parent / "labels" / "plasticc_metadata.csv", delimiter=",", names=True
    )
    target = {"SNIa": 90, "SNIbc": 62, "SNII": 42, "SNIax": 52, "SNIa-91bg": 67}[name]
    reference = np.median(table["hostgal_specz"][table["target"] == target])
    drawn = np.median(populations[name].draw(np.random.default_rng(1), 1000, "lsst").redshift)
    assert 0.5 < drawn / reference < 2.0
