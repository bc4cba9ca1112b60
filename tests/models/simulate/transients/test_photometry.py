"""Synthetic photometry against the definition of AB magnitudes and against sncosmo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DataError
from models.lightcurve import BANDS
from models.simulate.transients.dust import reddening
from models.simulate.transients.photometry import (
    AB_NJY,
    LN_Z_STEP,
    REST_WAVELENGTH,
    TABLE_BANDS,
    Photometry,
    blue_magnitude_scale,
)
from models.simulate.transients.spectra import on_grid
from models.simulate.transients.spectral import PHASES, SpectralSources
from models.simulate.transients.volume import distance_modulus
from tests.models.simulate.inputs import spectra, write_inputs

_LIGHT_AA_S = 2.99792458e18


@pytest.fixture(scope="module")
def photometry(inputs: Path) -> Photometry:
    return Photometry(inputs / "bandpasses.npz")


def flat_in_frequency() -> npt.NDArray[np.float64]:
    """3631 Jy at all wavelengths, in erg/s/cm2/A."""
    return np.asarray(3.631e-20 * _LIGHT_AA_S / REST_WAVELENGTH**2)


def one_source(
    table: npt.NDArray[np.float32], z: float, colour: float = 0.0, shape: float = 0.0
) -> SpectralSources:
    one = np.ones(1)
    return SpectralSources(
        table[None],
        np.zeros(1, np.int64),
        z * one,
        # The table is the flux at 10 pc: undo the distance.
        -distance_modulus(z * one),
        shape * one,
        colour * one,
        one,
        np.zeros((1, TABLE_BANDS)),
    )


def flux_of(sources: SpectralSources, days: npt.NDArray[np.float64], band: int) -> Any:
    return sources.flux(np.zeros(len(days), np.int64), days, np.full(len(days), band, np.uint8))


def test_a_flat_spectrum_has_magnitude_zero_in_every_band(photometry: Photometry) -> None:
    table = photometry.table([flat_in_frequency()[None]], np.zeros(len(REST_WAVELENGTH)), 1)
    np.testing.assert_allclose(table[0, :, 0, 0], AB_NJY, rtol=2e-3)


def test_redshift_stretches_a_flat_spectrum_but_keeps_its_energy(photometry: Photometry) -> None:
    """Per frequency it gets brighter by 1 + z: the same energy in a narrower interval."""
    table = photometry.table([flat_in_frequency()[None]], np.zeros(len(REST_WAVELENGTH)), 20)
    z = np.expm1(LN_Z_STEP * np.arange(20))
    r = table[:, 2, 0, 0]
    np.testing.assert_allclose(r, r[0] * (1.0 + z), rtol=3e-3)


def test_the_bolometric_flux_of_a_redshifted_spectrum_falls_with_distance_alone(
    photometry: Photometry,
) -> None:
    """A narrow line that stays within r has the same energy flux at 10 pc at every redshift."""
    line = np.exp(-0.5 * ((REST_WAVELENGTH - 5700.0) / 20.0) ** 2)
    table = photometry.table([line[None]], np.zeros(len(REST_WAVELENGTH)), 9)
    z = np.expm1(LN_Z_STEP * np.array([0, 4, 8]))
    photons = table[[0, 4, 8], 2, 0, 0]
    # Photon counting: equal energy flux at longer wavelength is more photons.
    np.testing.assert_allclose(photons / (1.0 + z), photons[0], rtol=0.01)


def test_the_variance_of_a_law_within_a_band_is_positive(photometry: Photometry) -> None:
    law = reddening(REST_WAVELENGTH)
    table = photometry.table([flat_in_frequency()[None]], law, 5).astype(float)
    mean = table[..., 1] / table[..., 0]
    variance = table[..., 2] / table[..., 0] - mean**2
    assert variance.min() > 0
    assert mean[0, 1, 0] > mean[0, 2, 0] > mean[0, 5, 0]


def test_vega_like_b_is_brighter_in_vega_than_in_ab() -> None:
    scale = blue_magnitude_scale(flat_in_frequency()[None])[0]
    assert -2.5 * np.log10(scale) == pytest.approx(0.09, abs=0.003)


@pytest.mark.parametrize("z", [0.013, 0.13, 0.41])
@pytest.mark.parametrize("excess", [0.0, 0.4])
def test_magnitudes_agree_with_sncosmo(photometry: Photometry, z: float, excess: float) -> None:
    sncosmo = pytest.importorskip("sncosmo")
    phase, wavelength = np.arange(-20.0, 81.0), np.arange(1000.0, 11500.0, 5.0)
    flux = 1e-8 * spectra(phase, wavelength, 10000.0, 20.0)
    on_tables = on_grid(phase, wavelength, flux[None])
    ours = one_source(photometry.table(list(on_tables), reddening(REST_WAVELENGTH), 20), z, excess)
    dusty = flux * 10.0 ** (-0.4 * excess * reddening(wavelength))
    model = sncosmo.Model(sncosmo.TimeSeriesSource(phase, wavelength, dusty))
    model.set(z=z, t0=0.0, amplitude=1.0)
    days = np.array([-9.0, -3.3, 0.0, 6.7, 20.0, 41.5]) * (1.0 + z)
    for k, band in enumerate(BANDS[:TABLE_BANDS]):
        passed = _sncosmo_band(sncosmo, band.survey, band.name)
        zero = sncosmo.get_magsystem("ab").zpbandflux(passed)
        expected = model.bandflux(passed, days) / zero * AB_NJY
        difference = 2.5 * np.log10(flux_of(ours, days, k) / expected)
        assert np.abs(difference).max() < 0.02, band.key


def _sncosmo_band(sncosmo: Any, survey: str, name: str) -> Any:
    from tests.models.simulate.inputs import bandpasses

    arrays = bandpasses()
    return sncosmo.Bandpass(
        arrays[f"{survey}_{name}_wavelength"].astype(float),
        arrays[f"{survey}_{name}_transmission"].astype(float),
        name=f"{survey}{name}",
    )


def test_series_rise_before_and_fade_after_their_file() -> None:
    phase, wavelength = np.arange(-6.0, 41.0), np.arange(3000.0, 9001.0, 10.0)
    series = on_grid(phase, wavelength, spectra(phase, wavelength, 9000.0, 15.0)[None])[0]
    light = series.sum(axis=1)
    before, after = PHASES < -6.0, PHASES > 40.0
    assert light[0] == 0.0
    assert (np.diff(light[before]) >= 0).all()
    assert light[PHASES == -8.0] > 0.0
    per_day = -2.5 * np.log10(light[after][1:] / light[after][:-1])
    assert (per_day >= 0.0099).all()
    assert (per_day <= 0.0501).all()
    ultraviolet = series[PHASES == 0.0][0][REST_WAVELENGTH < 3000.0]
    assert (np.diff(ultraviolet) > 0).all()


def test_a_missing_bandpass_is_a_data_error(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "sim")
    with np.load(inputs / "bandpasses.npz") as arrays:
        kept = {k: v for k, v in arrays.items() if not k.startswith("ztf_i")}
    np.savez(inputs / "bandpasses.npz", allow_pickle=False, **kept)
    with pytest.raises(DataError, match="no bandpass ztf_i"):
        Photometry(inputs / "bandpasses.npz")
