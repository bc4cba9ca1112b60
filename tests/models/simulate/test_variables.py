"""What the classes of variables look like before they are observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DataError
from models.lightcurve import BANDS, band_index
from models.simulate.source import REFERENCE_DAYS, Population, Sources
from models.simulate.variables import variable_populations
from models.simulate.variables.agn import (
    damped_random_walk,
    distance_modulus,
    structure_function,
    time_scale,
)
from models.simulate.variables.eclipsing import eclipsing_binaries
from models.simulate.variables.flare import flare_shape, m_dwarf_flares
from models.simulate.variables.microlens import magnification, microlensing
from models.simulate.variables.mira import miras
from models.simulate.variables.occurrences import recurring
from models.simulate.variables.rrlyrae import amplitude_of_period, rr_lyrae
from models.simulate.variables.starlight import black_body_magnitudes, star_colours

ROWS = [row for row, band in enumerate(BANDS) if band.survey in ("lsst", "ztf")]
G, R, Z = (band_index("lsst", name) for name in "grz")


@pytest.fixture(scope="module")
def populations(inputs: Path) -> list[Population]:
    return variable_populations(inputs)


def _magnitudes(
    sources: Sources, days: npt.NDArray[np.float64], band: int
) -> npt.NDArray[np.float64]:
    """Return AB magnitudes of all sources at the same days, [n, T]."""
    n, steps = len(sources), len(days)
    flux = sources.flux(
        np.repeat(np.arange(n), steps), np.tile(days, n), np.full(n * steps, band, np.uint8)
    )
    return np.asarray(31.4 - 2.5 * np.log10(flux.reshape(n, steps)))


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_all_bands_and_times_have_positive_flux(populations: list[Population], survey: str) -> None:
    rng = np.random.default_rng(1)
    for population in populations:
        sources = population.draw(rng, 40, survey)
        assert (sources.start_days < sources.end_days).all()
        assert (sources.end_days - sources.start_days).max() <= 400
        source = rng.integers(0, 40, 4000)
        begin, end = sources.start_days[source] - REFERENCE_DAYS, sources.end_days[source] + 30
        band = rng.choice(ROWS, 4000).astype(np.uint8)
        flux = sources.flux(source, rng.uniform(begin, end), band)
        assert np.isfinite(flux).all() and (flux > 0).all(), population.name


def test_flux_does_not_depend_on_what_else_is_asked(populations: list[Population]) -> None:
    for population in populations:
        sources = population.draw(np.random.default_rng(2), 30, "ztf")
        days = np.linspace(-300, 40, 50)
        both = _magnitudes(sources, days, G)
        assert np.array_equal(both[:, ::7], _magnitudes(sources, days[::7], G)), population.name


def test_only_chosen_groups_are_drawn(inputs: Path) -> None:
    population = rr_lyrae(inputs)
    chosen = np.array([1, 4])
    sources = population.draw(np.random.default_rng(3), 200, "ztf", chosen)
    assert set(sources.group) == {1, 4}


def test_damped_random_walks_have_their_structure_function() -> None:
    """SF(dt) = SF_inf sqrt(1 - exp(-dt / tau)), with SF_inf = sqrt(2) for unit variance."""
    tau = 60.0
    walk = damped_random_walk(np.random.default_rng(4), np.full(3000, tau), 400, 1.0)
    assert walk[:, 0].std() == pytest.approx(1, abs=0.05)
    for lag in (5, 30, 120, 350):
        measured = np.sqrt(np.mean((walk[:, lag:] - walk[:, :-lag]) ** 2))
        assert measured == pytest.approx(np.sqrt(2 * (1 - np.exp(-lag / tau))), rel=0.03)


def test_agn_parameters_follow_suberlak_2021() -> None:
    one = np.ones(1)
    assert structure_function(4000 * one, -23 * one, 9 * one)[0] == pytest.approx(10**-0.476)
    assert time_scale(4000 * one, -23 * one, 9 * one)[0] == pytest.approx(10**2.597)
    # Brighter nuclei vary less, redder light too.
    assert structure_function(8000 * one, -26 * one, 9 * one)[0] < 0.12


def test_distances_agree_with_a_standard_cosmology() -> None:
    # astropy's FlatLambdaCDM(70, 0.3).distmod of these redshifts.
    expected = [38.3151, 42.2688, 44.1002, 45.9548]
    assert distance_modulus(np.array([0.1, 0.5, 1.0, 2.0])) == pytest.approx(expected, abs=0.01)


def test_agn_vary_together_and_more_in_the_blue(populations: list[Population]) -> None:
    sources = populations[0].draw(np.random.default_rng(5), 300, "lsst")
    days = np.arange(-900.0, 100.0, 5.0)
    g, z = (_magnitudes(sources, days, band) for band in (G, Z))
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(g, z, strict=True)]
    assert np.median(correlation) > 0.95
    assert np.median(g.std(axis=1) / z.std(axis=1)) > 1.1


def _best_period(days: npt.NDArray[np.float64], magnitude: npt.NDArray[np.float64]) -> float:
    """Return the period, in days, of the lowest string length (Lafler & Kinman 1965)."""
    trial = 1 / np.arange(1 / 1.2, 1 / 0.2, 1e-4)
    lengths = []
    for period in trial:
        folded = magnitude[np.argsort(days / period % 1)]
        lengths.append(np.sum((folded - np.roll(folded, 1)) ** 2))
    return float(trial[int(np.argmin(lengths))])


def test_periods_of_rr_lyrae_are_found_by_folding(inputs: Path) -> None:
    sources = rr_lyrae(inputs).draw(np.random.default_rng(6), 12, "ztf")
    days = np.sort(np.random.default_rng(7).uniform(0, 60, 150))
    for row, magnitude in enumerate(_magnitudes(sources, days, G)):
        period = _best_period(days, magnitude)
        is_c = sources.group[row] == 0
        assert (0.2 < period < 0.46) if is_c else (0.41 < period < 0.86)
        # One period later the star is the same.
        again = _magnitudes(sources, days + 5 * period, G)[row]
        assert np.abs(again - magnitude).mean() < 0.1 * np.ptp(magnitude)


def test_rr_lyrae_amplitudes_fall_with_period_and_wavelength(inputs: Path) -> None:
    amplitude = amplitude_of_period(np.array([0.48, 0.55, 0.62, 0.70]))
    assert (np.diff(amplitude) < 0).all()
    assert amplitude[1] == pytest.approx(1.17, abs=0.05)
    sources = rr_lyrae(inputs).draw(np.random.default_rng(8), 100, "ztf")
    days = np.linspace(0, 3, 400)
    g, r = (np.ptp(_magnitudes(sources, days, band), axis=1) for band in (G, R))
    assert np.median(r / g) == pytest.approx(0.71, abs=0.05)
    assert 0.3 < np.median(g) < 1.3


def test_templates_of_the_wrong_form_are_refused(tmp_path: Path, inputs: Path) -> None:
    with pytest.raises(DataError, match="rrlyrae_ugriz_templates"):
        rr_lyrae(tmp_path)
    path = tmp_path / "ztf.npz"
    np.savez(path, cls=np.array(["RR Lyr"]))
    with pytest.raises(DataError, match="vsx_oid"):
        rr_lyrae(inputs, path)


def test_real_stars_are_templates_with_their_own_periods(tmp_path: Path, inputs: Path) -> None:
    path = tmp_path / "ztf.npz"
    phase = np.linspace(0, 1, 64, endpoint=False)
    wave = 17 + 0.4 * np.cos(2 * np.pi * phase)
    np.savez(
        path,
        cls=np.array(["RR Lyr", "Cepheid"]),
        vsx_oid=np.array(["11", "12"]),
        period=np.array([0.5, 7.0]),
        offset=np.array([0, 64, 128]),
        time=np.concatenate([phase * 0.5, phase * 7]).astype(np.float32),
        mag_gri=np.tile(np.stack([wave, wave, wave], axis=1), (2, 1)).astype(np.float32),
    )
    population = rr_lyrae(inputs, path)
    assert population.groups[-1] == "VSX 11" and "VSX 12" not in population.groups
    star = np.array([len(population.groups) - 1])
    sources = population.draw(np.random.default_rng(9), 5, "ztf", star)
    days = np.linspace(0, 0.5, 65)
    magnitude = _magnitudes(sources, days, G)
    assert magnitude[:, 0] == pytest.approx(magnitude[:, -1], abs=1e-6)
    assert np.ptp(magnitude, axis=1) == pytest.approx(0.8, rel=0.15)


def test_eclipses_are_dips_that_repeat() -> None:
    sources = eclipsing_binaries().draw(np.random.default_rng(10), 400, "ztf")
    days = np.linspace(0, 60, 6000)
    magnitude = _magnitudes(sources, days, R)
    faint = magnitude.max(axis=1) - np.median(magnitude, axis=1)
    bright = np.median(magnitude, axis=1) - magnitude.min(axis=1)
    assert (faint > bright).mean() > 0.85
    assert 0.1 < np.median(faint) < 0.8
    assert faint.max() < 5.8


def test_eclipse_depths_follow_the_temperatures() -> None:
    """The hotter star's eclipse is deeper in the blue: the system reddens."""
    sources = eclipsing_binaries().draw(np.random.default_rng(11), 300, "lsst")
    days = np.linspace(0, 40, 8000)
    g, z = (_magnitudes(sources, days, band) for band in (G, Z))
    deepest = g.argmax(axis=1)
    rows = np.arange(len(g))
    redder = (g - z)[rows, deepest] - np.median(g - z, axis=1)
    assert (redder > -0.01).mean() > 0.95
    assert (redder > 0.05).mean() > 0.2


def test_magnification_of_paczynski() -> None:
    assert magnification(np.ones(1))[0] == pytest.approx(3 / np.sqrt(5))
    assert magnification(np.array([0.01]))[0] == pytest.approx(100, rel=1e-3)


def test_microlensing_peaks_at_the_reference_time_and_is_symmetric() -> None:
    sources = microlensing().draw(np.random.default_rng(12), 200, "lsst")
    days = np.linspace(-400, 400, 801)
    magnitude = _magnitudes(sources, days, R)
    assert (magnitude.argmin(axis=1) == 400).all()
    assert np.allclose(magnitude, magnitude[:, ::-1], atol=1e-9)
    # Twice the Einstein time before, the magnification is at most 1.06.
    start = [np.interp(s, days, m) for s, m in zip(sources.start_days, magnitude, strict=True)]
    assert np.median(magnitude[:, 0] - start) < 0.08


def test_flares_follow_davenport_2014() -> None:
    assert flare_shape(np.array([0.0]))[0] == pytest.approx(0.992)
    assert flare_shape(np.array([-1.0, -1.5])) == pytest.approx(0, abs=1e-2)
    time = np.linspace(-1, 10, 11001)
    above = time[flare_shape(time) > 0.5]
    assert np.ptp(above) == pytest.approx(1, abs=0.1)


def test_flares_are_blue_and_short() -> None:
    sources = m_dwarf_flares().draw(np.random.default_rng(13), 300, "ztf")
    quiet = [np.median(_magnitudes(sources, np.linspace(-90, 30, 301), b), axis=1) for b in (G, R)]
    g, r = (_magnitudes(sources, np.zeros(1), band)[:, 0] for band in (G, R))
    assert (quiet[0] - g > quiet[1] - r).all()
    assert np.median(quiet[0] - quiet[1]) == pytest.approx(1.45, abs=0.1)
    # A day later most are over.
    later = _magnitudes(sources, np.ones(1), G)[:, 0]
    assert (np.abs(later - quiet[0]) < 0.05).mean() > 0.95


def test_miras_are_red_slow_and_large() -> None:
    sources = miras().draw(np.random.default_rng(14), 200, "lsst")
    days = np.arange(-900.0, 100.0, 5.0)
    g, r, z = (_magnitudes(sources, days, band) for band in (G, R, Z))
    amplitude = np.ptp(g, axis=1)
    assert 3 < np.median(amplitude) < 8
    assert (np.ptp(z, axis=1) < amplitude).all()
    assert np.median(r - z) > 2
    assert np.abs(np.diff(g, axis=1)).max() < 1.0


def test_dwarf_novae_rise_fast_and_are_blue(populations: list[Population]) -> None:
    sources = populations[-1].draw(np.random.default_rng(15), 300, "ztf")
    g, r = (_magnitudes(sources, np.array([-2.0, 1.5]), band) for band in (G, R))
    rise = g[:, 0] - g[:, 1]
    assert np.median(rise) > 2
    assert np.median((g - r)[:, 1]) == pytest.approx(-0.25, abs=0.15)


def test_recurring_events_are_sorted_and_one_is_at_zero() -> None:
    events = recurring(np.random.default_rng(16), np.array([3.0, 50.0, 700.0]), 0.3, -1000, 365)
    for source in range(3):
        days = events.days[events.source == source]
        assert (np.diff(days) > 0).all() and (days == 0).sum() == 1
        assert days[0] < -580 and days[-1] > 200
    latest = events.latest(np.array([0, 1, 2, 2]), np.array([0.5, -0.5, 0.0, -1e5]))
    assert events.days[latest[0]] == 0 and events.days[latest[1]] < -10
    assert events.days[latest[2]] == 0 and latest[3] == -1


def test_stars_and_black_bodies_are_bluer_when_hotter() -> None:
    temperature = np.array([2800.0, 3500, 5000, 7500, 15000])
    for colours in (star_colours(temperature), black_body_magnitudes(temperature)):
        assert np.array_equal(colours[:, 2], np.zeros(5))
        assert (np.diff(colours[:, 1]) < 0).all()
        assert (np.diff(colours[:, 4]) > 0).all()
    # Planck's law at 4802 and 6231 Angstrom.
    x = 1.4387769 / (np.array([4802e-8, 6231e-8]) * 1e4)
    per_frequency = np.array([4802.0, 6231.0]) ** -3 / np.expm1(x)
    expected = -2.5 * np.log10(per_frequency[0] / per_frequency[1])
    assert black_body_magnitudes(np.array([1e4]))[0, 1] == pytest.approx(expected, abs=1e-4)
