"""PLAsTiCC's CSV files in both public forms, whole objects in chunks, bounded memory."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

from models.datasets import load
from models.datasets.joined import join
from models.datasets.plasticc import plasticc_chunks
from models.errors import ConfigurationError, DataError
from models.lightcurve import BANDS
from tests.models.datasets.test_parquet import assert_same

KAGGLE = {
    "training_set.csv": """\
object_id,mjd,passband,flux,flux_err,detected
615,59750.4229,2,-544.810303,3.622952,1
615,59750.4306,1,-816.434326,5.553370,1
615,59750.4383,3,-471.385529,3.801213,1
713,59825.26,5,1.5,2.25,0
713,59826.27,0,10.0,0.5,1
730,59798.3205,2,1.177371,1.364300,0
""",
    "training_set_metadata.csv": """\
object_id,ra,decl,gal_l,gal_b,ddf,hostgal_specz,hostgal_photoz,hostgal_photoz_err,distmod,mwebv,target
615,349.046051,-61.943836,320.796530,-51.753706,1,0.0000,0.0000,0.0000,,0.017,92
713,53.085938,-27.784405,223.525509,-54.460748,1,1.8181,1.6267,0.2552,45.4063,0.007,88
730,33.574219,-6.579593,170.455585,-61.548219,1,0.2320,0.2262,0.0157,40.2561,0.021,42
""",
}
ZENODO = {
    "plasticc_train_lightcurves.csv": KAGGLE["training_set.csv"].replace(
        "detected", "detected_bool"
    ),
    "plasticc_train_metadata.csv": """\
object_id,ra,decl,ddf_bool,hostgal_specz,hostgal_photoz,hostgal_photoz_err,distmod,mwebv,target,true_target,true_submodel,true_z
615,349.046051,-61.943836,1,0.0,0.0,0.0,,0.017,92,92,1,0.0
713,53.085938,-27.784405,1,1.8181,1.6267,0.2552,45.4063,0.007,88,88,1,1.8181
730,33.574219,-6.579593,1,0.232,0.2262,0.0157,40.2561,0.021,42,42,3,0.232
""",
}
TEST = {
    "plasticc_test_lightcurves_01.csv": """\
object_id,mjd,passband,flux,flux_err,detected_bool
13,59798.3205,2,1.0,1.0,0
13,59798.3281,1,2.0,1.0,0
14,59798.3357,3,3.0,1.0,0
14,59799.3357,3,4.0,1.0,1
""",
    "plasticc_test_lightcurves_02.csv": """\
object_id,mjd,passband,flux,flux_err,detected_bool
14,59800.3357,3,5.0,1.0,1
17,59798.3205,2,6.0,1.0,1
23,59798.3205,2,7.0,1.0,1
""",
    "plasticc_test_lightcurves_10.csv": """\
object_id,mjd,passband,flux,flux_err,detected_bool
34,59798.3205,2,8.0,1.0,1
35,59798.3205,2,9.0,1.0,1
""",
    "plasticc_test_metadata.csv": """\
object_id,hostgal_photoz,hostgal_photoz_err,target,true_target,true_submodel
13,0.5,0.1,0,90,1
14,0.6,0.2,0,62,2
17,0.7,0.3,0,991,1
23,-9.0,-9.0,0,64,1
34,0.7,0.3,0,994,1
35,0.7,0.3,0,62,3
""",
}


def write(folder: Path, files: dict[str, str], ending: str = "") -> Path:
    for name, text in files.items():
        if ending == ".gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        elif ending == ".zip":
            with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, text)
        else:
            (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
@pytest.mark.parametrize("files", [KAGGLE, ZENODO], ids=["kaggle", "zenodo"])
def test_training_part(tmp_path: Path, files: dict[str, str], ending: str) -> None:
    data = load("plasticc", write(tmp_path, files, ending))
    curves = data.curves
    assert data.name == "simulated LSST light curves (PLAsTiCC, training part)"
    assert data.object_id.tolist() == [615, 713, 730]
    assert [data.classes[k] for k in data.label] == ["RRL", "AGN", "SNII"]
    assert len(data.classes) == 14
    assert data.classes[0] == "mu-Lens"
    assert curves.splits.tolist() == [0, 3, 5, 6]
    assert [BANDS[b].key for b in curves.band[:5]] == [f"lsst:{b}" for b in "rgiyu"]
    # FLUXCAL 1 is magnitude 27.5; so is 10^((31.4 - 27.5) / 2.5) nJy.
    np.testing.assert_allclose(curves.flux[:2], [-19780.87, -29642.94], rtol=1e-6)
    np.testing.assert_allclose(curves.flux_err[3:5], [81.69256, 18.153903], rtol=1e-6)
    assert curves.detected.tolist() == [True, True, True, False, True, False]
    np.testing.assert_array_equal(curves.redshift, np.float32([np.nan, 1.6267, 0.2262]))
    np.testing.assert_array_equal(curves.redshift_err, np.float32([np.nan, 0.2552, 0.0157]))


def test_groups_are_the_models_where_they_are_known(tmp_path: Path) -> None:
    for name, files, expected in (
        ("kaggle", KAGGLE, ["RRL", "AGN", "SNII"]),
        ("zenodo", ZENODO, ["RRL model 1", "AGN model 1", "SNII model 3"]),
    ):
        (tmp_path / name).mkdir()
        data = load("plasticc", write(tmp_path / name, files))
        assert [data.groups[g] for g in data.group] == expected


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 3, 5, 100])
def test_chunks_are_whole_objects_whatever_their_size(tmp_path: Path, rows_per_chunk: int) -> None:
    chunks = plasticc_chunks(write(tmp_path, TEST), rows_per_chunk)
    data = join(chunks.name, list(chunks))
    assert data.object_id.tolist() == [13, 14, 23, 35]
    assert [data.classes[k] for k in data.label] == ["SNIa", "SNIbc", "KN", "SNIbc"]
    assert data.curves.splits.tolist() == [0, 2, 5, 6, 7]
    fluxes = np.array([1.0, 2, 3, 4, 5, 7, 9]) * 36.307805
    np.testing.assert_allclose(data.curves.flux, fluxes, rtol=1e-6)
    redshift = np.float32([0.5, 0.6, np.nan, 0.7])
    np.testing.assert_array_equal(data.curves.redshift, redshift)
    assert chunks.skipped == {991: 1, 994: 1}
    again = join(chunks.name, list(chunks))
    assert_same(again, data)
    assert chunks.skipped == {991: 1, 994: 1}, "counted anew"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("training_set.csv", "flux_err", "error", r"training_set\.csv has no column flux_err: dow"),
        ("training_set.csv", "detected", "seen", "has no column detected or detected_bool: downl"),
        ("training_set.csv", "-544.810303", "bright", "cannot read .* 'bright'"),
        ("training_set.csv", "-544.810303", "", "column flux of .* has empty values"),
        ("training_set.csv", "59825.26,5", "59825.26,6", "column passband must be 0 to 5"),
        ("training_set.csv", "730,", "731,", "object 731 of the light curves is not in"),
        ("training_set.csv", "730,", "615,", "the rows of object 615 are not together"),
        ("training_set_metadata.csv", "target", "class", "no column true_target or target: down"),
        ("training_set_metadata.csv", "0.021,42", "0.021,43", r"unknown PLAsTiCC classes \[43\]"),
        ("training_set_metadata.csv", "photoz_err", "x", "no column hostgal_photoz_err: download"),
    ],
)
def test_files_of_another_form(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    assert old in KAGGLE[name]
    write(tmp_path, KAGGLE | {name: KAGGLE[name].replace(old, new)})
    with pytest.raises(DataError, match=message):
        load("plasticc", tmp_path)


def test_rows_of_an_object_in_two_chunks(tmp_path: Path) -> None:
    # Separate files, for a file as small as this is one block.
    path = tmp_path / "plasticc_test_lightcurves_02.csv"
    write(tmp_path, TEST)
    path.write_text(path.read_text() + "13,59900.0,2,1.0,1.0,0\n")
    with pytest.raises(DataError, match="the rows of object 13 are not together"):
        list(plasticc_chunks(tmp_path, rows_per_chunk=3))


@pytest.mark.parametrize("missing", KAGGLE)
def test_a_missing_file(tmp_path: Path, missing: str) -> None:
    write(tmp_path, {name: text for name, text in KAGGLE.items() if name != missing})
    with pytest.raises(DataError, match=rf"has no .* or {missing} \(nor .gz, .zip\): download"):
        load("plasticc", tmp_path)


def test_files_that_are_not_what_their_names_say(tmp_path: Path) -> None:
    write(tmp_path, KAGGLE)
    (tmp_path / "training_set.csv").rename(tmp_path / "training_set.csv.zip")
    with pytest.raises(DataError, match=r"cannot read .*csv\.zip: File is not a zip file"):
        load("plasticc", tmp_path)
    with zipfile.ZipFile(tmp_path / "training_set.csv.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(DataError, match=r"must hold one CSV file, it holds \[\]"):
        load("plasticc", tmp_path)
    (tmp_path / "training_set.csv.zip").rename(tmp_path / "training_set.csv.gz")
    with pytest.raises(DataError, match=r"cannot read .*csv\.gz"):
        load("plasticc", tmp_path)


def test_unknown_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no part 'all'; known: training, test"):
        plasticc_chunks(tmp_path, part="all")


MEASURE = """
import sys
from pathlib import Path
from models.datasets.plasticc import plasticc_chunks
for name in sys.argv[1:]:
    n = sum(len(chunk.curves.mjd) for chunk in plasticc_chunks(Path(name), 100_000))
    peak = next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]
    print(n, int(peak) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    folders = []
    for n_rows in (400_000, 2_000_000):
        folders.append(tmp_path / str(n_rows))
        folders[-1].mkdir()
        write_many(folders[-1], n_rows)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, folders)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=200,
    )
    (small, before), (large, after) = (line.split() for line in done.stdout.splitlines())
    assert (int(small), int(large)) == (400_000, 2_000_000)
    # As arrays, the rows that the larger file has more would take 40 MB, in CSV 60 MB.
    assert int(after) - int(before) < 25, done.stdout


def write_many(folder: Path, n_rows: int, per_object: int = 125) -> None:
    rng = np.random.default_rng(5)
    ids = np.arange(n_rows // per_object) + 13
    table = {
        "object_id": np.repeat(ids, per_object),
        "mjd": 59580.0625 + np.arange(n_rows) % per_object,
        "passband": rng.integers(0, 6, n_rows),
        "flux": np.round(rng.normal(0, 30, n_rows), 4),
        "flux_err": np.full(n_rows, 5.25),
        "detected_bool": rng.integers(0, 2, n_rows),
    }
    pc.write_csv(pa.table(table), folder / "plasticc_test_lightcurves_01.csv")
    n = len(ids)
    about = {
        "object_id": ids,
        "hostgal_photoz": np.full(n, 0.5),
        "hostgal_photoz_err": np.full(n, 0.1),
        "true_target": np.full(n, 90),
    }
    pc.write_csv(pa.table(about), folder / "plasticc_test_metadata.csv")
