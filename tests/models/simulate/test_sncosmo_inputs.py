"""Inputs made from sources of sncosmo, without its downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


def series(temperature: float = 9000.0) -> Any:
    flux = spectra(PHASE, WAVELENGTH, temperature, 20.0)
    return sncosmo.TimeSeriesSource(PHASE, WAVELENGTH, flux)


class TwoComponents(sncosmo.SALT2Source):  # type: ignore[misc]
    """The interface of a SALT source on a made-up model, whose files would be downloaded."""

    def __init__(self) -> None:
        self.name, self.version = "two-components", "1"
        self._parameters = np.array([1.0, 0.0, 0.0])
        self._phase, self._wave = PHASE, WAVELENGTH
        mean = spectra(PHASE, WAVELENGTH, 11000.0, 18.0)
        rule = sncosmo.salt2utils.BicubicInterpolator
        self._model = {
            "M0": rule(PHASE, WAVELENGTH, mean),
            "M1": rule(PHASE, WAVELENGTH, 0.1 * mean),
        }
        self._colorlaw = lambda wave: 2.0 * (4400.0 / wave - 1.0)


def test_a_series_is_written_as_it_is(tmp_path: Path) -> None:
    write_series(tmp_path / "series.npz", series())
    with np.load(tmp_path / "series.npz") as arrays:
        np.testing.assert_allclose(arrays["phase"], PHASE)
        np.testing.assert_allclose(arrays["wavelength"], WAVELENGTH)
        expected = spectra(PHASE, WAVELENGTH, 9000.0, 20.0)
        np.testing.assert_allclose(arrays["flux"], expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_salt_components_and_colour_law(tmp_path: Path) -> None:
    write_salt(tmp_path / "salt.npz", TwoComponents())
    with np.load(tmp_path / "salt.npz") as arrays:
        np.testing.assert_allclose(
            arrays["M1"], 0.1 * arrays["M0"], rtol=1e-3, atol=1e-6 * arrays["M0"].max()
        )
        expected = spectra(PHASE, WAVELENGTH, 11000.0, 18.0)
        np.testing.assert_allclose(arrays["M0"], expected, rtol=1e-3, atol=1e-6 * expected.max())
        np.testing.assert_allclose(arrays["colorlaw"], 2.0 * (4400.0 / WAVELENGTH - 1.0), atol=1e-6)


def test_the_simulator_runs_on_what_is_written(tmp_path: Path) -> None:
    folder = write_made_up(tmp_path / "sim")
    sed = folder / "sed"
    write_salt(sed / "salt2_extended.npz", TwoComponents())
    write_salt(sed / "salt3_f22.npz", TwoComponents())
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
