"""Real light curves: read as documented, magnitudes to differences, errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.datasets import load
from models.datasets.asas import load_asas
from models.datasets.fluxes import difference_fluxes
from models.datasets.stripe82 import load_stripe82
from models.datasets.ztf_templates import load_ztf_templates
from models.errors import DataError
from models.lightcurve import BANDS, LightCurves

Columns = dict[str, Any]

BTS: Columns = {
    "object": ["ZTF19b", "ZTF18a", "ZTF18a", "ZTF19b", "ZTF20c"],
    "mjd": [58702.5, 58601.5, 58600.5, 58700.5, 58800.5],
    "band": ["g", "r", "g", "i", "r"],
    "mag": np.float32([20.0, 18.9, 19.0, 20.0, 17.0]),
    "magerr": np.float32([0.1, 0.05, 0.1, 0.2, 0.02]),
    "class": ["SN Iax", "SN Ia-91T", "SN Ia-91T", "SN Iax", "SN Ia"],
    "redshift": np.float32([0.03, np.nan, np.nan, 0.03, 0.05]),
    "a_v": np.float32([0.1] * 5),
}
STRIPE82: Columns = {
    "object": ["99"] * 40 + ["1013184"] * 40,
    "mjd": np.concatenate([np.arange(40.0), np.arange(40.0)]) + 51000,
    "band": ["u", "z"] * 40,
    "mag": np.float32(17 + 0.3 * np.sin(np.arange(80.0))),
    "magerr": np.full(80, 0.02, np.float32),
    "class": ["RRLc"] * 40 + ["RRLab"] * 40,
}
PANTHEON: Columns = {
    "object": ["1248677", "1248677", "2011iv", "1248677", "03D1au", "ASASSN-16ct"],
    "survey": ["DES3YR", "DES3YR", "CSP-DR3", "PS1-MD", "SNLS", "Foundation"],
    "mjd": [56500.5, 56501.5, 55902.2, 56500.0, 52900.0, 57400.0],
    "band": ["g", "z", "g", "z", "i", "r"],
    "flux": np.float32([10, -30, 5e5, 3, 50, 600]),
    "flux_err": np.float32([2, 5, 100, 1, 5, 6]),
    "zp": np.full(6, 27.5, np.float32),
    "z": np.float32([0.1, 0.1, 0.006, 0.1, 0.5, 0.04]),
}
ASAS: Columns = {
    "object": ["215707"] * 10 + ["9"] * 10 + ["31"] * 10,
    "mjd": np.arange(30.0) + 51868,
    "band": ["V"] * 30,
    "mag": np.float32(12 + 0.5 * np.sin(np.arange(30.0))),
    "magerr": np.full(30, 0.03, np.float32),
    "class": ["RR_Lyrae_FO"] * 10 + ["W_Ursae_Maj"] * 10 + ["RSG"] * 10,
}
FILES = {
    "bts": ("ztf_bts_snia.parquet", BTS),
    "stripe82": ("s82_rrlyrae.parquet", STRIPE82),
    "pantheon": ("pantheonplus_snia.parquet", PANTHEON),
    "asas": ("asas_variables.parquet", ASAS),
}


def write(folder: Path, name: str, **changes: Any) -> Path:
    file_name, columns = FILES[name]
    columns = {k: v for k, v in (columns | changes).items() if v is not None}
    pq.write_table(pa.table(columns), folder / file_name)
    return folder


def keys(curves: LightCurves) -> list[str]:
    return [BANDS[b].key for b in curves.band]


def test_bts(tmp_path: Path) -> None:
    data = load("bts", write(tmp_path, "bts"))
    curves = data.curves
    assert data.groups == ("ZTF18a", "ZTF19b", "ZTF20c")
    assert data.group.tolist() == data.object_id.tolist() == [0, 1, 2]
    assert [data.classes[k] for k in data.label] == ["SNIa", "SNIax", "SNIa"]
    assert curves.splits.tolist() == [0, 2, 4, 5]
    assert keys(curves) == ["ztf:g", "ztf:r", "ztf:i", "ztf:g", "ztf:r"]
    # Magnitude 18.9 is 100,000 nJy; 0.1 mag are 9.21 %.
    assert curves.flux[1] == pytest.approx(1e5, rel=1e-5)
    assert curves.flux_err[3] / curves.flux[3] == pytest.approx(0.0921, rel=1e-3)
    assert curves.detected.all()
    np.testing.assert_array_equal(curves.redshift, np.float32([np.nan, 0.03, 0.05]))
    assert curves.redshift_err is not None
    assert np.isnan(curves.redshift_err).all()


def test_stripe82_fluxes_are_differences_of_both_signs(tmp_path: Path) -> None:
    data = load("stripe82", write(tmp_path, "stripe82"))
    curves = data.curves
    assert data.object_id.tolist() == [1013184, 99]
    assert data.groups == ("1013184", "99")
    assert {data.classes[k] for k in data.label} == {"RRL"}
    assert set(keys(curves)) == {"sdss:u", "sdss:z"}
    total = 10 ** ((31.4 - np.float64(STRIPE82["mag"])) / 2.5)
    star = np.repeat([1, 0], 40)
    for row in (0, 1):
        own = slice(curves.splits[row], curves.splits[row + 1])
        for band in (0, 1):
            rows = (star == row) & (np.arange(80) % 2 == band)
            flux = curves.flux[own][band::2]
            reference = total[rows] - flux
            assert np.ptp(reference) < 1e-5 * total.max(), "one per star and band"
            assert 0 < np.abs(flux).min() < np.ptp(total[rows])
            assert flux.min() < 0 < flux.max()
    significant = np.abs(curves.flux) >= 5 * curves.flux_err
    np.testing.assert_array_equal(curves.detected, significant)
    assert 0 < significant.mean() < 1
    assert (significant & (curves.flux < 0)).any()


def test_references_are_drawn_by_seed(tmp_path: Path) -> None:
    write(tmp_path, "stripe82")
    fluxes = [load_stripe82(tmp_path, seed).curves.flux for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fluxes[0], fluxes[1])
    assert (fluxes[0] != fluxes[2]).any()


def test_a_reference_is_the_mean_of_up_to_15_early_exposures() -> None:
    n = 100
    rng = np.random.default_rng(3)
    mjd = rng.permutation(n).astype(np.float64)
    # The early half has powers of two that tell which exposures were taken.
    flux = np.where(mjd < n // 2, 2.0**mjd, 1e30)
    star, band = np.zeros(n, np.int64), np.zeros(n, np.uint8)
    reference = flux - difference_fluxes(star, band, mjd, flux, seed=0)
    taken = f"{int(reference[np.argmin(flux)] * 15):b}"
    assert taken.count("1") == 15
    assert len(taken) <= n // 2


def test_a_single_exposure_is_its_own_reference() -> None:
    one = np.ones(1)
    assert difference_fluxes(one.astype(np.int64), one.astype(np.uint8), one, one, 0) == [0.0]


def test_pantheon(tmp_path: Path) -> None:
    data = load("pantheon", write(tmp_path, "pantheon"))
    curves = data.curves
    assert len(data) == 4, "not CSP"
    objects = {data.groups[g]: i for i, g in enumerate(data.group)}
    assert set(objects) == {"03D1au", "1248677", "ASASSN-16ct"}
    assert np.bincount(data.group).tolist() == [1, 2, 1], "two surveys, one supernova"
    assert sorted(keys(curves)) == ["des:g", "des:z", "ps1:i", "ps1:r", "ps1:z"]
    assert data.classes == ("SNIa",)
    des = curves.take(np.flatnonzero(curves.n_observations == 2))
    np.testing.assert_allclose(des.flux, [363.07805, -1089.2341], rtol=1e-6)
    assert des.detected.tolist() == [True, True]
    assert curves.detected.sum() == 4, "3 with an error of 1 is none"
    assert curves.redshift is not None
    assert sorted(curves.redshift.tolist()) == np.float32([0.04, 0.1, 0.1, 0.5]).tolist()


def test_asas_classes_of_the_taxonomy_in_the_nearest_band(tmp_path: Path) -> None:
    data = load("asas", write(tmp_path, "asas"))
    assert data.object_id.tolist() == [215707, 9]
    assert [data.classes[k] for k in data.label] == ["RRL", "EB"]
    assert set(keys(data.curves)) == {"ztf:g"}
    assert data.curves.flux.min() < 0 < data.curves.flux.max()
    # Vega to AB: 0.02 mag fainter, so that V = 12 + 0.5 sin 0 is 12.02 AB.
    v = 10 ** ((31.4 - 12.02) / 2.5)
    err = data.curves.flux_err[0] / (0.03 * np.log(10) / 2.5)
    assert err == pytest.approx(v, rel=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_the_file_itself_may_be_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    path = tmp_path / FILES[name][0]
    path = path.rename(tmp_path / "other.parquet")
    assert len(load(name, path)) > 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("missing", ["object", "mjd", "band"])
def test_a_missing_column(tmp_path: Path, name: str, missing: str) -> None:
    with pytest.raises(DataError, match=rf"lacks {missing}: the folder must contain .*README"):
        load(name, write(tmp_path, name, **{missing: None}))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"cannot read .* \(No such file .*README"):
        load(name, tmp_path)
    (tmp_path / FILES[name][0]).write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="is not a Parquet file"):
        load(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bts", {"band": ["V"] * 5}, r"unknown bands \['V'\] of ztf; known: g, r, i"),
        ("bts", {"class": ["SN II"] * 5}, r"unknown classes \['SN II'\]; known: SN Ia,"),
        ("bts", {"mag": ["faint"] * 5}, "column mag of .* must hold numbers, but has the type str"),
        ("bts", {"mjd": [58702.5, None, 1, 1, 1]}, "column mjd of .* has 1 values that are no num"),
        ("bts", {"object": ["a", None, "a", "a", "a"]}, "column object of .* has 1 values that a"),
        ("stripe82", {"class": ["RRd"] * 80}, r"unknown classes \['RRd'\]"),
        ("pantheon", {"zp": np.full(6, 25.0)}, r"column zp must be 27\.5"),
        ("asas", {"band": ["I"] * 30}, "column band must be V everywhere"),
    ],
)
def test_a_column_of_another_form(
    tmp_path: Path, name: str, changes: Columns, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(name, write(tmp_path, name, **changes))


def template_arrays() -> dict[str, npt.NDArray[Any]]:
    periods = np.array([0.5, 3.25])
    return {
        "cls": np.array(["RR Lyr", "Ellipsoidal"]),
        "vsx_oid": np.array(["636161", "391431"]),
        "period": periods,
        "ra": np.array([10.0, 20.0]),
        "dec": np.array([-5.0, 60.0]),
        "offset": np.array([0, 5, 11]),
        "time": np.concatenate(
            [np.linspace(0, p, n) for p, n in zip(periods, (5, 6), strict=True)]
        ).astype(np.float32),
        "mag_gri": np.arange(33, dtype=np.float32).reshape(11, 3),
    }


def save(folder: Path, arrays: dict[str, npt.NDArray[Any]]) -> Path:
    np.savez(folder / "ztf_dr_vars_templates.npz", **arrays)  # type: ignore[arg-type]
    return folder


def test_templates(tmp_path: Path) -> None:
    stars = load_ztf_templates(save(tmp_path, template_arrays()))
    assert len(stars) == 2
    assert stars.kind == ("RR Lyr", "Ellipsoidal")
    assert stars.taxonomy == ("RRL", None)
    assert stars.vsx_oid == ("636161", "391431")
    assert stars.splits.tolist() == [0, 5, 11]
    phases = [*np.linspace(0, 1, 5), *np.linspace(0, 1, 6)]
    np.testing.assert_allclose(stars.phase, phases, atol=1e-6)
    np.testing.assert_array_equal(stars.mag_gri, template_arrays()["mag_gri"])
    np.testing.assert_array_equal(stars.period, [0.5, 3.25])


def drop_time(arrays: Columns) -> None:
    del arrays["time"]


def rename_class(arrays: Columns) -> None:
    arrays["cls"][0] = "Mira"


def shorten(arrays: Columns) -> None:
    arrays["mag_gri"] = arrays["mag_gri"][:-1]


def lengthen_period(arrays: Columns) -> None:
    arrays["period"][1] = 3.5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_time, "lacks time: the folder must contain"),
        (rename_class, r"unknown classes \['Mira'\]; known: Cepheid"),
        (shorten, "offset, time and mag_gri of .* do not fit"),
        (lengthen_period, r"time of star 1 ends at 3\.25, its period is 3\.5"),
    ],
)
def test_templates_of_another_form(
    tmp_path: Path, damage: Callable[[Columns], None], message: str
) -> None:
    arrays = template_arrays()
    damage(arrays)
    with pytest.raises(DataError, match=message):
        load_ztf_templates(save(tmp_path, arrays))


def test_no_templates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*npz \(No such file"):
        load_ztf_templates(tmp_path)
    (tmp_path / "ztf_dr_vars_templates.npz").write_bytes(b"x")
    with pytest.raises(DataError, match="is not an npz archive"):
        load_ztf_templates(tmp_path)


def test_asas_references_are_drawn_by_seed(tmp_path: Path) -> None:
    write(tmp_path, "asas")
    assert (load_asas(tmp_path, 1).curves.flux != load_asas(tmp_path, 2).curves.flux).any()
