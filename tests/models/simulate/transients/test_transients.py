"""Populations of transients: the contract that all keep, and the physics of the spectral ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DataError
from models.lightcurve import BANDS, band_index
from models.simulate.source import Population, Sources
from models.simulate.transients import transient_populations
from models.simulate.transients.photometry import TABLE_BANDS
from models.simulate.transients.population import SpectralPopulation
from models.simulate.transients.spectral import SpectralSources
from models.simulate.transients.volume import distance_modulus
from models.taxonomy import CLASS_IDS
from tests.models.simulate.inputs import write_inputs

NAMES = ("SNIa", "SNIa-91bg", "SNIax", "SNIbc", "SNII", "SLSN-I", "TDE", "KN")
SPECTRAL = NAMES[:5]
DEPTH = {"ztf": 20.8, "lsst": 24.4}
G, R = band_index("lsst", "g"), band_index("lsst", "r")


def curve(sources: Sources, i: int, days: npt.NDArray[np.float64], band: int) -> np.ndarray:
    n = len(days)
    return sources.flux(np.full(n, i), days, np.full(n, band, np.uint8))


def peak_magnitudes(sources: Sources, survey: str) -> np.ndarray:
    """Brightest AB magnitude within the windows, [n]."""
    n, steps = len(sources), 240
    part = np.linspace(0.0, 1.0, steps)
    days = sources.start_days[:, None] + part * (sources.end_days - sources.start_days)[:, None]
    best = np.zeros(n)
    for k, band in enumerate(BANDS[:TABLE_BANDS]):
        if band.survey == survey:
            flux = sources.flux(
                np.repeat(np.arange(n), steps), days.ravel(), np.full(n * steps, k, np.uint8)
            )
            best = np.maximum(best, flux.reshape(n, steps).max(axis=1))
    return 31.4 - 2.5 * np.log10(best)


def test_the_classes(transients: dict[str, Population]) -> None:
    assert tuple(transients) == NAMES
    assert set(NAMES) <= set(CLASS_IDS)
    assert not any(p.variable or p.galactic for p in transients.values())


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
@pytest.mark.parametrize("name", NAMES)
def test_sources_are_finite_and_mostly_detected(
    transients: dict[str, Population], name: str, survey: str
) -> None:
    sources = transients[name].draw(np.random.default_rng(3), 200, survey)
    assert len(sources) == 200
    assert (sources.end_days > sources.start_days + 30.0).all()
    assert (sources.redshift > 0).all()
    rng = np.random.default_rng(4)
    source = rng.integers(0, 200, 5_000)
    span = (sources.end_days - sources.start_days)[source]
    days = sources.start_days[source] + rng.random(5_000) * span
    flux = sources.flux(source, days, rng.integers(0, TABLE_BANDS, 5_000).astype(np.uint8))
    assert np.isfinite(flux).all()
    assert (flux >= 0).all()
    assert (peak_magnitudes(sources, survey) < DEPTH[survey] + 0.3).mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_nothing_shines_before_the_explosion(transients: dict[str, Population], name: str) -> None:
    sources = transients[name].draw(np.random.default_rng(3), 50, "lsst")
    peak = 10 ** (-0.4 * (peak_magnitudes(sources, "lsst") - 31.4))
    early = np.array([curve(sources, i, sources.start_days[[i]], R)[0] for i in range(50)])
    assert (early < 1e-3 * peak).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_sources(transients: dict[str, Population], name: str) -> None:
    one, same, other = (
        transients[name].draw(np.random.default_rng(s), 20, "ztf") for s in (7, 7, 8)
    )
    days = np.linspace(0.0, 20.0, 9)
    for i in range(20):
        np.testing.assert_array_equal(curve(one, i, days, R), curve(same, i, days, R))
    np.testing.assert_array_equal(one.redshift, same.redshift)
    assert (one.redshift != other.redshift).any()


@pytest.mark.parametrize("name", NAMES)
def test_lsst_sees_farther_than_ztf(transients: dict[str, Population], name: str) -> None:
    near, far = (
        np.median(transients[name].draw(np.random.default_rng(1), 300, s).redshift)
        for s in ("ztf", "lsst")
    )
    assert far > 1.5 * near


def test_a_band_without_table_is_refused(transients: dict[str, Population]) -> None:
    sources = transients["SNIa"].draw(np.random.default_rng(1), 2, "ztf")
    with pytest.raises(IndexError, match="band 9"):
        curve(sources, 0, np.zeros(1), 9)


def test_groups_are_supernovae_across_sources(transients: dict[str, Population]) -> None:
    assert transients["SNIbc"].groups == ("SN 2001a", "SN 2001b", "SN 2001c", "SN 2001d")
    assert "v2.0-f" in transients["SNII"].groups
    assert all(
        transients[name].groups == (name,) for name in NAMES if name not in ("SNIbc", "SNII")
    )


def test_of_a_pair_only_the_version_without_host_dust_is_used(
    transients: dict[str, Population],
) -> None:
    population = transients["SNIbc"]
    assert isinstance(population, SpectralPopulation)
    assert population.series.group.tolist() == [0, 0, 1, 2, 3]


def test_weights_are_shares_of_types(transients: dict[str, Population]) -> None:
    population = transients["SNII"]
    share = dict(zip(population.groups, population.weights, strict=True))
    assert population.weights.sum() == pytest.approx(1.0)
    assert share["SN 2001e"] == share["v2.0-f"] == pytest.approx(0.3)


def test_hold_out_draws_no_other_groups(transients: dict[str, Population]) -> None:
    allowed = np.array([1, 3])
    sources = transients["SNIbc"].draw(np.random.default_rng(1), 300, "lsst", allowed)
    assert set(sources.group.tolist()) == {1, 3}
    every = transients["SNIbc"].draw(np.random.default_rng(1), 300, "lsst")
    assert set(every.group.tolist()) == {0, 1, 2, 3}


def plain(population: Population) -> SpectralSources:
    """Eight sources without random deviations from their series."""
    assert isinstance(population, SpectralPopulation)
    exact = replace(population, diversity=0.0)
    exact.__dict__["series"] = population.series
    return exact.draw_sources(np.random.default_rng(5), np.zeros(8, np.int64), "lsst")


def _flux(sources: SpectralSources, days: np.ndarray, band: int) -> np.ndarray:
    """[n, T] at days [T] for every source."""
    n = len(sources.z)
    flux = sources.flux(
        np.repeat(np.arange(n), len(days)),
        np.tile(days, n),
        np.full(n * len(days), band, np.uint8),
    )
    return flux.reshape(n, len(days))


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_peak_has_the_drawn_absolute_magnitude(
    transients: dict[str, Population], name: str
) -> None:
    """At z = 0.002, where g is close to B, but for the colour between the two."""
    sources = plain(transients[name])
    near = replace(
        sources, z=np.full(8, 0.002), colour=np.zeros(8), shape=np.zeros(8), stretch=np.ones(8)
    )
    peak = _flux(near, np.linspace(-20.0, 40.0, 121), G).max(axis=1)
    absolute = 31.4 - 2.5 * np.log10(peak) - distance_modulus(near.z)
    difference = absolute - sources.magnitude
    assert np.abs(difference).max() < 0.5
    assert np.ptp(difference[sources.series == sources.series[0]]) < 1e-6


@pytest.mark.parametrize("name", SPECTRAL)
def test_dust_and_colour_dim_and_redden(transients: dict[str, Population], name: str) -> None:
    sources = plain(transients[name])
    clear, dusty = (replace(sources, colour=np.full(8, c)) for c in (0.0, 0.3))
    days = np.array([0.0])
    dimming = {
        band: 2.5 * np.log10(_flux(clear, days, band) / _flux(dusty, days, band)) for band in (G, R)
    }
    assert (dimming[G] > dimming[R] + 0.05).all()
    if name != "SNIa":  # SALT's c dims red bands through the magnitude, not the law
        assert (dimming[R] > 0.3).all()


@pytest.mark.parametrize("name", SPECTRAL)
def test_time_is_dilated(transients: dict[str, Population], name: str) -> None:
    """The same series at twice the scale of time, observed where bands hold the same light."""
    sources = plain(transients[name])
    days = np.linspace(-10.0, 60.0, 30)
    slow = replace(sources, stretch=2.0 * sources.stretch)
    np.testing.assert_allclose(_flux(slow, 2.0 * days, R), _flux(sources, days, R), rtol=1e-9)
    fine = np.linspace(-60.0, 200.0, 2601)
    near, far = (replace(sources, z=np.full(8, z)) for z in (0.01, 0.5))
    bands = {0.01: band_index("lsst", "g"), 0.5: band_index("lsst", "i")}
    widths = [
        (_flux(s, fine, bands[z]) > 0.5 * _flux(s, fine, bands[z]).max(axis=1)[:, None]).sum(axis=1)
        for s, z in ((near, 0.01), (far, 0.5))
    ]
    np.testing.assert_allclose(widths[1] / widths[0], 1.5 / 1.01, rtol=0.1)


def test_x1_slows_the_decline_of_sne_ia(transients: dict[str, Population]) -> None:
    sources = plain(transients["SNIa"])
    fast, slow = (replace(sources, shape=np.full(8, x)) for x in (-2.0, 1.0))
    days = np.array([0.0, 25.0])
    decline = [np.divide(*_flux(s, days, G).T) for s in (fast, slow)]
    assert (decline[0] > 1.1 * decline[1]).all()


def test_a_file_without_the_wanted_arrays_is_a_data_error(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "sim")
    np.savez(inputs / "sed" / "salt3_f22.npz", phase=np.zeros(1))
    populations = {p.name: p for p in transient_populations(inputs)}
    with pytest.raises(DataError, match=r"salt3_f22.npz lacks M0, M1, colorlaw, wavelength"):
        populations["SNIa"].draw(np.random.default_rng(0), 1, "ztf")
    np.savez(inputs / "sed" / "core_collapse.npz", phase=np.zeros(1))
    with pytest.raises(DataError, match=r"core_collapse.npz lacks name, sn, type"):
        transient_populations(inputs)
