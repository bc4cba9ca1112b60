"""Alerts and a table of labels become labelled light curves, per object or per alert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy import labelled
from deploy.labelled import LabelColumns, Labels, Made, Per, make_curves, read_labels
from deploy.settings import Settings
from models.datasets.parquet import load_alerts, load_parquet
from models.errors import ConfigurationError, DataError
from models.lightcurve import LightCurves
from stream.alerts import AlertBatch
from stream.decode import Decoder
from stream.sources.archive import ArchiveSource
from tests.archives import write_tarball

TABLE = """\
name,type,z,ez
ZTF20aaelulu,SNIbc,0.00521,0.0001
ZTF18aaiscil,AGN,,
ZTF19aazzpje,SNIa,0.02,
170028485706776685,RRL,,
ZTF99nothing,KN,0.1,0.1
"""
COLUMNS = LabelColumns("name", "type", "z", "ez")


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    (tmp_path / "labels.csv").write_text(TABLE)
    return read_labels(tmp_path / "labels.csv", COLUMNS)


@pytest.fixture(scope="module")
def decoded(alerts_dir: Path) -> AlertBatch:
    messages = ArchiveSource([alerts_dir]).poll(10_000, 0.0)
    assert messages is not None
    return Decoder().decode(messages)


def alerts_of(batch: AlertBatch, name: str) -> tuple[LightCurves, list[int]]:
    """The alerts of an object, and their ids."""
    rows = [row for row, value in enumerate(batch.object_id.to_pylist()) if value == name]
    return batch.curves.take(np.array(rows)), batch.alert_id[rows].tolist()


def same(one: LightCurves, other: LightCurves) -> bool:
    names = ("splits", "mjd", "band", "flux", "flux_err", "detected")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def make(paths: list[Path], labels: Labels, out: Path, per: Per) -> Made:
    return make_curves(Settings(), paths, labels, out, per)


def test_labels(labels: Labels) -> None:
    assert labels.classes == ("SNIa", "SNIbc", "KN", "RRL", "AGN"), "in order of the taxonomy"
    assert [labels.classes[k] for k in labels.label] == ["SNIbc", "AGN", "SNIa", "RRL", "KN"]
    assert labels.rows["ZTF19aazzpje"] == 2
    redshift = np.float32([0.00521, np.nan, 0.02, np.nan, 0.1])
    np.testing.assert_array_equal(labels.redshift, redshift)
    error = np.float32([0.0001, np.nan, np.nan, np.nan, 0.1])
    np.testing.assert_array_equal(labels.redshift_err, error)


def test_per_alert_is_what_every_alert_was_sent_with(
    alerts_dir: Path, labels: Labels, decoded: AlertBatch, tmp_path: Path
) -> None:
    made = make([alerts_dir], labels, tmp_path / "a.parquet", Per.ALERT)
    alerts = load_alerts(tmp_path / "a.parquet")
    data = alerts.data
    assert (made.curves, made.alerts) == (len(data), len(data))
    assert made.alerts + made.unlabelled == len(decoded)
    assert made.refused == len(decoded.refused) > 0
    assert made.repeated == 0
    assert made.objects_of_class == {"SNIa": 1, "SNIbc": 1, "KN": 0, "RRL": 1, "AGN": 1}
    for name, number in labels.rows.items():
        expected, ids = alerts_of(decoded, name)
        rows = np.array([r for r, g in enumerate(data.group) if data.groups[g] == name], int)
        assert same(data.curves.take(rows), expected), name
        assert data.object_id[rows].tolist() == ids
        assert {data.classes[k] for k in data.label[rows]} <= {labels.classes[labels.label[number]]}
    row = {int(alert): i for i, alert in enumerate(decoded.alert_id)}
    expected_mjd = decoded.trigger_mjd[[row[int(alert)] for alert in data.object_id]]
    np.testing.assert_array_equal(alerts.trigger_mjd, expected_mjd)
    assert data.curves.redshift is not None
    assert np.nanmax(data.curves.redshift) == np.float32(0.02)


def test_per_object_is_the_union_of_exposures(
    alerts_dir: Path, labels: Labels, decoded: AlertBatch, tmp_path: Path
) -> None:
    made = make([alerts_dir], labels, tmp_path / "o.parquet", Per.OBJECT)
    data = load_parquet(tmp_path / "o.parquet")
    names = [data.groups[g] for g in data.group]
    assert names == ["ZTF20aaelulu", "ZTF18aaiscil", "ZTF19aazzpje", "170028485706776685"]
    assert data.object_id.tolist() == [0, 1, 2, 3], "rows of the label table"
    assert made.curves == 4 < made.alerts
    for row, name in enumerate(names):
        alerts, _ = alerts_of(decoded, name)
        exposures = set(zip(alerts.mjd, alerts.band, strict=True))
        curve = data.curves.take(np.array([row]))
        assert set(zip(curve.mjd, curve.band, strict=True)) == exposures
        assert len(curve.mjd) == len(exposures), "each once"
        found = {
            (mjd, band)
            for mjd, band, yes in zip(alerts.mjd, alerts.band, alerts.detected, strict=True)
            if yes
        }
        got = zip(curve.mjd[curve.detected], curve.band[curve.detected], strict=True)
        assert set(got) == found, "a detection in any alert is one"


def test_merging_often_and_once_is_the_same(
    alerts_dir: Path, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarballs = [
        write_tarball(tmp_path / f"{i}.tar", [path.read_bytes()])
        for i, path in enumerate(sorted(alerts_dir.glob("ztf/**/*.avro")))
    ]
    make(tarballs, labels, tmp_path / "once.parquet", Per.OBJECT)
    monkeypatch.setattr(labelled, "_UNMERGED_OBSERVATIONS", 1)
    make(tarballs, labels, tmp_path / "often.parquet", Per.OBJECT)
    once, often = (load_parquet(tmp_path / f"{n}.parquet").curves for n in ("once", "often"))
    assert same(once, often)


def test_ranks_survive_merging() -> None:
    curves = LightCurves.from_observations(
        curve=np.zeros(3, np.int64),
        mjd=np.arange(3.0),
        band=np.zeros(3, np.uint8),
        flux=np.float32([5, -0.1, 0]),
        flux_err=np.ones(3, np.float32),
        rank=np.array([0, 1, 2], np.uint8),
        n_curves=1,
    )
    assert labelled._ranks(curves).tolist() == [0, 1, 2]


def test_an_alert_that_comes_twice_is_taken_once(
    alerts_dir: Path, labels: Labels, tmp_path: Path
) -> None:
    packets = [path.read_bytes() for path in sorted(alerts_dir.glob("ztf/3.3/*.avro"))]
    archive = write_tarball(tmp_path / "twice.tar.gz", [*packets, *packets])
    made = make([archive], labels, tmp_path / "a.parquet", Per.ALERT)
    assert made.messages == 2 * len(packets)
    assert made.repeated == made.alerts == made.curves == 5
    assert len(load_alerts(tmp_path / "a.parquet").data) == 5


def test_no_alert_of_a_labelled_object(alerts_dir: Path, labels: Labels, tmp_path: Path) -> None:
    strangers = replace(labels, rows={"SN2020oi": 0}, names=("SN2020oi",))
    for per in Per:
        with pytest.raises(DataError, match=r"no alert of \d+ is of one of the 1 labelled objects"):
            make([alerts_dir / "ztf"], strangers, tmp_path / "a.parquet", per)
    assert not list(tmp_path.glob("a.parquet*"))


def test_no_archive(labels: Labels, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file or folder"):
        make([tmp_path / "none"], labels, tmp_path / "a.parquet", Per.ALERT)
    assert not list(tmp_path.glob("a.parquet*"))


def test_progress_and_name(alerts_dir: Path, labels: Labels, tmp_path: Path) -> None:
    sizes: list[int] = []
    make_curves(
        Settings(),
        [alerts_dir / "ztf"],
        labels,
        tmp_path / "a.parquet",
        Per.ALERT,
        name="my alerts",
        on_start=sizes.append,
        on_bytes=sizes.append,
    )
    assert sizes[-1] == sizes[0] > 0
    assert load_parquet(tmp_path / "a.parquet").name == "my alerts"


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (TABLE, LabelColumns(), "has no column object_id, class; it has name, type, z, ez: name"),
        (TABLE, replace(COLUMNS, redshift="redshift"), "has no column redshift; it has name"),
        (TABLE + "ZTF1,QSO,,\n", COLUMNS, r"line 7 of .*: unknown class 'QSO'; known: SNIa"),
        (TABLE + "ZTF1,AGN,far,\n", COLUMNS, "line 7 of .*: could not convert .* 'far'"),
        (TABLE + "ZTF1,,,\n", COLUMNS, "line 7 of .* has no object or no class"),
        (TABLE + "ZTF1\n", COLUMNS, "line 7 of .* has no object or no class"),
        (TABLE + "ZTF18aaiscil,RRL,,\n", COLUMNS, "object ZTF18aaiscil is in .* more than once"),
        ("name,type,z,ez\n", COLUMNS, "has no labels: it must have a line per object"),
        ("", COLUMNS, "has no column name, type, z, ez; it has : name the"),
    ],
)
def test_a_table_of_another_form(
    tmp_path: Path, text: str, columns: LabelColumns, message: str
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.csv", columns)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the labels in .*No such file"):
        read_labels(tmp_path / "labels.csv")
