"""The exchange format: what is written is read back, and what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.datasets.joined import join
from models.datasets.labelled import LabelledCurves
from models.datasets.parquet import (
    CurvesWriter,
    load_alerts,
    load_parquet,
    parquet_chunks,
    write_parquet,
)
from models.errors import DataError
from models.lightcurve import LightCurves
from tests.models.supernovae import random_curves

CLASSES = ("SNIa", "AGN", "KN")


def labelled(n: int = 50, seed: int = 0, redshift: bool = True) -> LabelledCurves:
    rng = np.random.default_rng(seed)
    curves, _ = random_curves(rng.integers(1, 40, n).tolist(), seed, bands=range(22))
    if redshift:
        z = rng.uniform(0.01, 1, n).astype(np.float32)
        z[::3] = np.nan
        curves = replace(curves, redshift=z, redshift_err=z * np.float32(0.1))
    return LabelledCurves(
        name="made-up curves",
        curves=curves,
        classes=CLASSES,
        label=rng.integers(0, 2, n),
        group=rng.integers(0, 5, n),
        groups=tuple(f"template {i}" for i in range(5)),
        object_id=rng.integers(0, 2**62, n),
    )


def assert_same_curves(got: LightCurves, expected: LightCurves) -> None:
    for name in ("splits", "mjd", "band", "flux", "flux_err", "detected"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    for name in ("redshift", "redshift_err"):
        np.testing.assert_array_equal(known(got, name), known(expected, name), err_msg=name)


def known(curves: LightCurves, name: str) -> Any:
    column = getattr(curves, name)
    return np.full(len(curves), np.nan, np.float32) if column is None else column


def assert_same(got: LabelledCurves, expected: LabelledCurves) -> None:
    assert_same_curves(got.curves, expected.curves)
    assert [got.classes[k] for k in got.label] == [expected.classes[k] for k in expected.label]
    assert [got.groups[g] for g in got.group] == [expected.groups[g] for g in expected.group]
    np.testing.assert_array_equal(got.object_id, expected.object_id)


@pytest.mark.parametrize("redshift", [True, False])
def test_curves_come_back_as_they_were(tmp_path: Path, redshift: bool) -> None:
    data = labelled(redshift=redshift)
    write_parquet(data, tmp_path / "a.parquet")
    got = load_parquet(tmp_path / "a.parquet")
    assert_same(got, data)
    assert got.name == "made-up curves"
    assert got.classes == CLASSES, "the order stays, and so does a class without objects"
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_curve_without_observations_stays(tmp_path: Path) -> None:
    data = labelled(3)
    none = np.zeros(len(data.curves.mjd), np.bool_)
    write_parquet(replace(data, curves=data.curves.where(none)), tmp_path / "a.parquet")
    assert load_parquet(tmp_path / "a.parquet").curves.n_observations.tolist() == [0, 0, 0]


def test_chunks_are_whole_curves_and_add_up(tmp_path: Path) -> None:
    data = labelled()
    write_parquet(data, tmp_path / "a.parquet")
    chunks = list(parquet_chunks(tmp_path / "a.parquet", 7))
    assert [len(chunk) for chunk in chunks] == [7] * 7 + [1]
    assert {chunk.classes for chunk in chunks} == {CLASSES}
    assert_same(join("all", chunks), data)


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    first, second = labelled(seed=1), labelled(seed=2)
    write_parquet(first, tmp_path / "a.parquet")
    write_parquet(second, tmp_path / "b.parquet")
    assert_same(load_parquet(tmp_path), join("both", [first, second]))


def test_long_curves_are_written_in_row_groups_of_bounded_size(tmp_path: Path) -> None:
    n = 700_000
    curves = LightCurves(
        np.array([0, n, 2 * n, 3 * n]),
        np.tile(np.arange(n, dtype=np.float64), 3),
        np.zeros(3 * n, np.uint8),
        np.ones(3 * n, np.float32),
        np.ones(3 * n, np.float32),
        np.ones(3 * n, np.bool_),
    )
    zeros = np.zeros(3, np.int64)
    data = LabelledCurves("long", curves, CLASSES, zeros, zeros, ("one",), np.arange(3))
    write_parquet(data, tmp_path / "a.parquet")
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 1]
    assert_same(load_parquet(tmp_path / "a.parquet"), data)


def test_a_file_that_was_not_completed_does_not_exist(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        CurvesWriter(tmp_path / "a.parquet", "made-up", CLASSES) as writer,
    ):
        writer.write(labelled())
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_the_file_is_not_of(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"is of the classes \('SNIa',\), not \['AGN', 'KN'\]"),
        CurvesWriter(tmp_path / "a.parquet", "made-up", ("SNIa",)) as writer,
    ):
        writer.write(labelled())


def test_alerts_have_the_times_of_their_last_observations(tmp_path: Path) -> None:
    data = labelled()
    trigger = data.curves.mjd[data.curves.splits[1:] - 1]
    with CurvesWriter(tmp_path / "a.parquet", data.name, CLASSES) as writer:
        writer.write(data, trigger)
    alerts = load_alerts(tmp_path / "a.parquet")
    assert_same(alerts.data, data)
    np.testing.assert_array_equal(alerts.trigger_mjd, trigger)


def test_an_alert_that_is_not_the_last_observation(tmp_path: Path) -> None:
    data = labelled()
    trigger = data.curves.mjd[data.curves.splits[1:] - 1]
    trigger[3] += 1
    with CurvesWriter(tmp_path / "a.parquet", data.name, CLASSES) as writer:
        writer.write(data, trigger)
    with pytest.raises(DataError, match=r"column trigger_mjd of .* is .* in row 3;"):
        load_alerts(tmp_path / "a.parquet")


def test_curves_that_are_no_alerts(tmp_path: Path) -> None:
    write_parquet(labelled(), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="trigger_mjd of .* lacks 50 of 50 values: the rows must"):
        load_alerts(tmp_path / "a.parquet")


def own_table(**changes: Any) -> pa.Table:
    """A table as someone else would write it: plain types, text ids, nothing optional."""
    columns: dict[str, Any] = {
        "object_id": ["SN 1", "SN 2", "SN 3"],
        "class": ["RRL", "SNIa", "RRL"],
        "mjd": [[60002.5, 60001.5], [60003.0, 60003.0], [60004.0]],
        "band": [["ztf:g", "ztf:r"], ["lsst:u", "lsst:u"], ["ps1:z"]],
        "flux": [[-2.0, 1.0], [3.0, 4.0], [5.0]],
        "flux_err": [[0.5, 0.25], [1.0, 1.0], [1.0]],
        "detected": [[True, False], [False, True], [True]],
    }
    columns |= changes
    return pa.table({name: values for name, values in columns.items() if values is not None})


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    pq.write_table(own_table(), tmp_path / "own.parquet")
    data = load_parquet(tmp_path)
    assert data.name == f"light curves of {tmp_path / 'own.parquet'}"
    assert data.classes == ("SNIa", "RRL"), "in the order of the taxonomy"
    assert data.label.tolist() == [1, 0, 1]
    assert data.object_id.tolist() == [0, 1, 2]
    assert [data.groups[g] for g in data.group] == ["SN 1", "SN 2", "SN 3"]
    assert data.curves.splits.tolist() == [0, 2, 3, 4], "of one exposure, the detection is kept"
    assert data.curves.mjd.tolist() == [60001.5, 60002.5, 60003.0, 60004.0]
    assert data.curves.flux.tolist() == [1.0, -2.0, 4.0, 5.0]
    assert data.curves.detected.tolist() == [False, True, True, True]
    assert data.curves.redshift is None


def test_categories_of_several_row_groups(tmp_path: Path) -> None:
    table = own_table()
    for name in ("class", "band"):
        kind = pa.dictionary(pa.int32(), pa.string())
        kind = pa.list_(kind) if name == "band" else kind
        column = pa.chunked_array([pa.array(table[name].to_pylist(), kind)])
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, tmp_path / "own.parquet", row_group_size=1)
    pq.write_table(own_table(), tmp_path / "plain.parquet")
    got = load_parquet(tmp_path / "own.parquet")
    assert_same(got, load_parquet(tmp_path / "plain.parquet"))
    assert got.classes == ("SNIa", "RRL")


def test_text_ids_of_several_files_stay_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(own_table(), tmp_path / f"{name}.parquet")
    assert load_parquet(tmp_path).object_id.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": None, "band": None}, r"lacks flux, band: one row per light curve with the col"),
        ({"mjd": [1.0, 2.0, 3.0]}, "column mjd of .* must be a list, but has the type double"),
        (
            {"band": [["ztf:g", "V"], ["lsst:u"] * 2, ["ps1:z"]]},
            r"column band of .* has \['V'\] \(known: lsst:u",
        ),
        ({"class": ["RRL", "QSO", "RRL"]}, r"column class of .* has \['QSO'\] \(known: SNIa,"),
        ({"class": ["RRL", None, "RRL"]}, "column class of .* is null in row 1"),
        (
            {"flux": [[1.0, 2.0], [3.0, 4.0], [float("nan")]]},
            "column flux of .* has no number in row 2",
        ),
        (
            {"flux_err": [[1.0, 2.0], [3.0, 0.0], [1.0]]},
            "column flux_err of .* has a value <= 0 or no number in row 1",
        ),
        (
            {"flux": [[1.0, 2.0], [3.0], [1.0]]},
            "column flux of .* has 1 values for 2 of mjd in row 1",
        ),
        ({"mjd": [[1.0, 2.0], None, [3.0]]}, "column mjd of .* is null in row 1"),
        ({"mjd": [[1.0, None], [1.0, 2.0], [3.0]]}, "column mjd of .* has a null"),
        (
            {"flux": [["a", "b"], ["c", "d"], ["e"]]},
            "column flux of .* has string where float is expected",
        ),
        (
            {"redshift": [{"z": 1.0}, None, None]},
            "column redshift of .* has struct<z: double> where double is expected",
        ),
    ],
)
def test_a_column_that_is_not_as_documented(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    pq.write_table(own_table(**changes), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=message):
        load_parquet(tmp_path)


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no"):
        load_parquet(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*none\.parquet \(No such file"):
        load_parquet(tmp_path / "none.parquet")
    (tmp_path / "a.parquet").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="is not a Parquet file"):
        load_parquet(tmp_path)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(labelled(), path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        load_parquet(path)
