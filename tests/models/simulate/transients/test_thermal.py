"""Black bodies: their photometry, and the physics of SLSNe, TDEs and kilonovae."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.lightcurve import band_index
from models.simulate.source import Population
from models.simulate.transients.disruption import light
from models.simulate.transients.kilonova import radioactive_heating
from models.simulate.transients.magnetar import spin_down
from models.simulate.transients.photometry import AB_NJY, TABLE_BANDS, Photometry
from models.simulate.transients.thermal import (
    NODES,
    Curves,
    ThermalPopulation,
    ThermalSources,
    black_bodies,
    diffused,
    photosphere,
    thermal_table,
)
from models.simulate.transients.volume import distance_modulus
from tests.models.simulate.inputs import bandpasses

U, G, R, Z = (band_index("lsst", b) for b in "ugrz")
_PARSEC_CM = 3.0856776e18


@pytest.fixture(scope="module")
def table(inputs: Path) -> npt.NDArray[np.float32]:
    return thermal_table(Photometry(inputs / "bandpasses.npz"), 30, None)


def steady(
    table: npt.NDArray[np.float32], kelvin: float, z: float, excess: float = 0.0
) -> ThermalSources:
    """A black body of 1e43 erg/s that does not change."""
    shape = (1, 1, len(NODES))
    curves = Curves.of(np.full(shape, 1e43), np.full(shape, kelvin))
    offset = np.zeros((1, TABLE_BANDS))
    return ThermalSources(table, curves, 100.0, np.array([z]), np.array([excess]), offset)


def magnitude(sources: ThermalSources, band: int) -> float:
    flux = sources.flux(np.zeros(1, np.int64), np.array([50.0]), np.array([band], np.uint8))
    return float(31.4 - 2.5 * np.log10(flux[0]))


@pytest.mark.parametrize("cut", [None, 3000.0])
def test_black_bodies_emit_their_luminosity(cut: float | None) -> None:
    wavelength = np.geomspace(100.0, 3e5, 8000)
    emitted = black_bodies(np.array([3000.0, 15000.0, 40000.0]), wavelength, cut)
    total = np.sum(np.diff(wavelength) * 0.5 * (emitted[:, 1:] + emitted[:, :-1]), axis=1)
    np.testing.assert_allclose(total * 4 * np.pi * (10 * _PARSEC_CM) ** 2, 1e42, rtol=1e-3)


def test_the_ultraviolet_cut_makes_the_rest_brighter() -> None:
    wavelength = np.array([2000.0, 5000.0])
    plain, cut = (black_bodies(np.array([15000.0]), wavelength, c)[0] for c in (None, 3000.0))
    assert cut[0] < plain[0]
    assert cut[1] > plain[1]


@pytest.mark.parametrize("kelvin", [2500.0, 8000.0, 30000.0])
@pytest.mark.parametrize("z", [0.03, 0.5])
def test_magnitudes_are_those_of_planck(
    table: npt.NDArray[np.float32], kelvin: float, z: float
) -> None:
    """Integrated directly over the observed band."""
    for band, name in ((G, "lsst_g"), (Z, "lsst_z")):
        wavelength = bandpasses()[f"{name}_wavelength"].astype(float)
        passed = bandpasses()[f"{name}_transmission"].astype(float)
        flux = 10.0 * black_bodies(np.array([kelvin]), wavelength / (1 + z), None)[0] / (1 + z)
        counted = (flux * passed * wavelength).sum() / (passed / wavelength).sum() / 2.99792458e18
        modulus = distance_modulus(np.array([z]))[0]
        expected = -2.5 * np.log10(counted * 1e32 / AB_NJY) + modulus
        assert magnitude(steady(table, kelvin, z), band) == pytest.approx(expected, abs=0.02)


def test_host_dust_reddens(table: npt.NDArray[np.float32]) -> None:
    dimming = [
        magnitude(steady(table, 2e4, 0.1, 0.2), b) - magnitude(steady(table, 2e4, 0.1), b)
        for b in (U, G, R, Z)
    ]
    assert (np.diff(dimming) < 0).all()
    assert 0.6 < dimming[1] < 0.9


def test_constant_heating_leaves_once_it_has_diffused() -> None:
    days = NODES * 200.0
    out = diffused(np.full((1, len(days)), 2.0), days, np.array([30.0]))[0]
    np.testing.assert_allclose(out, 2.0 * (1.0 - np.exp(-((days / 30.0) ** 2))), rtol=1e-9)


def test_arnett_rule_luminosity_equals_heating_at_the_peak() -> None:
    days = NODES * 200.0
    heating = np.exp(-days / 10.0)[None]
    out = diffused(heating, days, np.array([25.0]))[0]
    peak = int(out.argmax())
    assert 0 < peak < len(days) - 1
    assert out[peak] == pytest.approx(heating[0, peak], rel=0.05)


def test_the_photosphere_cools_to_its_floor() -> None:
    days = np.array([1.0, 10.0, 100.0])
    kelvin = photosphere(np.full((1, 3), 1e43), days, np.array([1e9]), np.array([6000.0]))[0]
    assert kelvin[0] / kelvin[1] == pytest.approx(np.sqrt(10.0))
    assert kelvin[2] == 6000.0


def test_a_magnetar_gives_its_rotational_energy() -> None:
    days = np.linspace(0.0, 3000.0, 200_000)
    power = spin_down(days, np.array([2.0]), np.array([1.0]))[0]
    assert power.sum() * (days[1] - days[0]) * 86400.0 == pytest.approx(2.6e52 / 4.0, rel=0.01)


def test_fallback_declines_as_a_power_law_or_an_exponential() -> None:
    days = np.array([30.0, 2030.0, 20030.0, 50.0])
    power, exponential = light(days, np.full(2, 10.0), np.full(2, 20.0), np.array([False, True]))
    assert power[0] == exponential[0] == 1.0
    assert np.log10(power[2] / power[1]) == pytest.approx(-5.0 / 3.0, abs=0.02)
    assert exponential[3] == pytest.approx(np.exp(-1.0))


def test_radioactive_heating_of_a_day() -> None:
    """About 1e10 erg/s/g at one day, falling as t^-1.3 or a little faster (Metzger 2019)."""
    day, later = radioactive_heating(np.array([1.0, 3.0]))
    assert 0.5e10 < day < 2e10
    assert -1.9 < np.log(later / day) / np.log(3.0) < -1.3


def test_the_kilonova_of_gw170817(transients: dict[str, Population]) -> None:
    """Fitted parameters (Villar et al. 2017) give about the observed g, r, i, at 40 Mpc.

    Observed, corrected for 0.11 mag of E(B-V): Drout et al. 2017, Cowperthwaite et al. 2017.
    """
    population = transients["KN"]
    assert isinstance(population, ThermalPopulation)
    fit = {
        "blue": {"mass_sun": 0.023, "speed_c": 0.256, "opacity": 0.5, "floor_k": 3983.0},
        "red": {"mass_sun": 0.05, "speed_c": 0.149, "opacity": 3.65, "floor_k": 1151.0},
    }
    parameters = {
        f"{name}_{field}": np.array([value])
        for name, values in fit.items()
        for field, value in values.items()
    }
    curves = population.curves(parameters, NODES * population.duration)
    z, offset = np.array([0.0098]), np.zeros((1, TABLE_BANDS))
    source = ThermalSources(population.table, curves, population.duration, z, 0 * z, offset)
    farther = distance_modulus(z)[0] - 33.03
    observed = {0.5: (17.0, 17.0, 17.2), 1.5: (18.3, 17.7, 17.4), 4.4: (21.6, 20.0, 19.3)}
    for days, expected in observed.items():
        flux = source.flux(np.zeros(3, np.int64), np.full(3, days), np.array([1, 2, 3], np.uint8))
        np.testing.assert_allclose(31.4 - 2.5 * np.log10(flux) - farther, expected, atol=0.8)


def colours_and_fading(
    population: Population, survey: str, later: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """g - r at the peak in r, and magnitudes of r lost ``later`` rest-frame days after it, [n]."""
    n, steps = 60, 400
    sources = population.draw(np.random.default_rng(11), n, survey)
    assert isinstance(population, ThermalPopulation)
    z = sources.redshift.astype(float)
    days = np.linspace(0.05, 1.0, steps) ** 2 * population.duration * (1.0 + z)[:, None]

    def flux(days: npt.NDArray[np.float64], band: int) -> npt.NDArray[np.float64]:
        source = np.repeat(np.arange(n), days.shape[1])
        values = sources.flux(source, days.ravel(), np.full(days.size, band, np.uint8))
        return values.reshape(days.shape)

    red = flux(days, R)
    peak = red.argmax(axis=1)[:, None]
    at_peak = np.take_along_axis(days, peak, 1)
    colour = -2.5 * np.log10(flux(at_peak, G) / flux(at_peak, R))[:, 0]
    lost = 2.5 * np.log10(flux(at_peak, R) / flux(at_peak + later * (1.0 + z)[:, None], R))[:, 0]
    return colour, lost


def test_kilonovae_fade_within_days(transients: dict[str, Population]) -> None:
    _, lost = colours_and_fading(transients["KN"], "lsst", 7.0)
    assert np.median(lost) > 2.5
    assert lost.min() > 0.7


def test_tidal_disruptions_are_blue_and_last(transients: dict[str, Population]) -> None:
    colour, lost = colours_and_fading(transients["TDE"], "ztf", 7.0)
    assert np.median(colour) < -0.1
    assert lost.max() < 1.0


def test_superluminous_supernovae_are_superluminous(transients: dict[str, Population]) -> None:
    population = transients["SLSN-I"]
    assert isinstance(population, ThermalPopulation)
    sources = population.draw_sources(np.random.default_rng(2), 200, "ztf")
    absolute = sources.peak("ztf") - distance_modulus(sources.z)
    # K-corrected by 2.5 log10(1 + z) alone.
    absolute += 2.5 * np.log10(1.0 + sources.z)
    assert (absolute < -19.5).mean() > 0.95
    assert -23.5 < np.median(absolute) < -20.5
