"""Inputs made from sources of sncosmo, without its downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DataError
from models.simulate.sncosmo_inputs import (
    Template,
    registry_templates,
    write_core_collapse,
    write_inputs,
    write_salt,
    write_sequence,
    write_series,
)
from models.simulate.transients import transient_populations
from tests.models.simulate.inputs import spectra
from tests.models.simulate.inputs import write_inputs as write_made_up

sncosmo = pytest.importorskip("sncosmo")

PHASE, WAVELENGTH = np.arange(-20.0, 61.0), np.arange(1500.0, 11001.0, 10.0)
COARSE = np.arange(1500.0, 11001.0, 50.0)


def series(temperature: float = 9000.0) -> Any:
    flux = spectra(PHASE, WAVELENGTH, temperature, 20.0)
    return sncosmo.TimeSeriesSource(PHASE, WAVELENGTH, flux)


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A SALT2 source of sncosmo, read from made-up files of its format."""
    folder = tmp_path_factory.mktemp("salt2")
    mean = 0.1 * spectra(PHASE, COARSE, 11000.0, 18.0)
    _write_grid(folder / "salt2_template_0.dat", mean)
    _write_grid(folder / "salt2_template_1.dat", 0.1 * mean)
    for name in ("relative_variance_0", "relative_variance_1", "relative_covariance_01"):
        _write_grid(folder / f"salt2_lc_{name}.dat", np.zeros_like(mean))
    _write_grid(folder / "salt2_lc_dispersion_scaling.dat", np.ones_like(mean))
    np.savetxt(folder / "salt2_color_dispersion.dat", np.stack([COARSE, 0 * COARSE], axis=1))
    (folder / "salt2_color_correction.dat").write_text(
        "2 -0.5 0.6\nSalt2ExtinctionLaw.version 1\n"
        "Salt2ExtinctionLaw.min_lambda 2800\nSalt2ExtinctionLaw.max_lambda 7000\n"
    )
    return sncosmo.SALT2Source(modeldir=str(folder))


def _write_grid(path: Path, values: npt.NDArray[np.float64]) -> None:
    phase, wavelength = np.meshgrid(PHASE, COARSE, indexing="ij")
    np.savetxt(path, np.stack([phase, wavelength, values], axis=-1).reshape(-1, 3), "%.8e")


def test_a_series_is_written_as_it_is(tmp_path: Path) -> None:
    write_series(tmp_path / "series.npz", series())
    with np.load(tmp_path / "series.npz") as arrays:
        np.testing.assert_allclose(arrays["phase"], PHASE)
        np.testing.assert_allclose(arrays["wavelength"], WAVELENGTH)
        expected = spectra(PHASE, WAVELENGTH, 9000.0, 20.0)
        np.testing.assert_allclose(arrays["flux"], expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_salt_components_and_colour_law(tmp_path: Path, salt: Any) -> None:
    write_salt(tmp_path / "salt.npz", salt)
    with np.load(tmp_path / "salt.npz") as arrays:
        mean, slope, law = (arrays[k].astype(float) for k in ("M0", "M1", "colorlaw"))
        wavelength = arrays["wavelength"].astype(float)
    floor = 1e-5 * mean.max()
    np.testing.assert_allclose(slope, 0.1 * mean, rtol=1e-3, atol=floor)
    # The files of the format are in units of 1e-12 erg/s/cm2/A.
    expected = 1e-13 * spectra(PHASE, wavelength, 11000.0, 18.0)
    np.testing.assert_allclose(mean, expected, rtol=0.02, atol=1e-3 * mean.max())
    salt.set(x0=2.0, x1=-1.5, c=0.2)
    ours = 2.0 * (mean - 1.5 * slope) * 10.0 ** (-0.4 * 0.2 * law)
    np.testing.assert_allclose(ours, salt.flux(PHASE, wavelength), rtol=1e-4, atol=floor)


def test_the_simulator_runs_on_what_is_written(tmp_path: Path, salt: Any) -> None:
    folder = write_made_up(tmp_path / "sim")
    sed = folder / "sed"
    write_salt(sed / "salt2_extended.npz", salt)
    write_salt(sed / "salt3_f22.npz", salt)
    write_series(sed / "hsiao_v3.npz", series())
    write_sequence(sed / "snia_91bg_sequence.npz", {1.7: series(), 1.9: series(7000.0)})
    write_core_collapse(
        sed / "core_collapse.npz",
        {
            Template("v19-2004gq-corr", "1.0", "SN Ib"): series(9000.0),
            Template("v19-2004gq", "1.0", "SN Ib"): series(7000.0),
            Template("snana-2004gq", "2.0", "SN Ic"): series(8000.0),
            Template("snana-2006kn", "2.0", "SN IIP"): series(10000.0),
        },
    )
    populations = {p.name: p for p in transient_populations(folder)}
    assert populations["SNIbc"].groups == ("SN 2004gq",)
    assert populations["SNII"].groups == ("SN 2006kn",)
    for name in ("SNIa", "SNIa-91bg", "SNIax", "SNIbc", "SNII"):
        sources = populations[name].draw(np.random.default_rng(1), 5, "lsst")
        flux = sources.flux(np.arange(5), np.zeros(5), np.full(5, 2, np.uint8))
        assert (flux > 0).all()
    with np.load(sed / "core_collapse.npz") as arrays:
        assert arrays["flux_0"].max() == pytest.approx(1.0)
        assert arrays["name"][:2].tolist() == [
            "v19-2004gq_HostExtCorr",
            "v19-2004gq_noHostExtCorr",
        ]


def test_the_registry_has_the_templates() -> None:
    templates = registry_templates()
    assert len({t.name for t in templates}) == len(templates) > 100
    by_name = {t.name: t for t in templates}
    assert by_name["snana-2004gq"] == Template("snana-2004gq", "2.0", "SN Ic")
    assert by_name["v19-2009ip-corr"].supernova == "2009ip"


def test_without_a_connection_it_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    """A proxy that nothing listens at stands for the missing connection."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(sncosmo.conf, "data_dir", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="needs a connection to the internet"):
        write_inputs(tmp_path / "sim")
