"""The UEA problem in both of its forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.datasets.uea import load_uea
from models.errors import ConfigurationError, DataError

NUMBERS = (90, 6, 95)
HEADER = """\
#comment
@problemName LSST
@timeStamps false
@univariate false
@dimensions 6
@equalLength true
@seriesLength 36
@classLabel true 6 90 95
@data
"""


def series() -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 100, (3, 6, 36)).astype(np.float32)


def write_ts(folder: Path, header: str = HEADER, last: str = "") -> Path:
    lines = [
        ":".join([*(",".join(str(v) for v in band) for band in one), str(number)])
        for one, number in zip(series(), NUMBERS, strict=True)
    ]
    (folder / "LSST_TRAIN.ts").write_text(header + "\n".join(lines) + "\n" + last)
    return folder


def write_npz(folder: Path) -> Path:
    np.savez(folder / "lsst_test.npz", X=series(), y=np.array(NUMBERS, np.int16))
    return folder


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    train = load_uea(write_ts(tmp_path), "train")
    test = load_uea(write_npz(tmp_path), "test")
    for data in (train, test):
        np.testing.assert_array_equal(data.flux, series())
        assert data.flux.dtype == np.float32
        assert [data.classes[k] for k in data.label] == ["SNIa", "mu-Lens", "SLSN-I"]
        assert len(data.classes) == 14
        assert len(data) == 3
    assert train.name == "UEA LSST, train part (from PLAsTiCC)"


def test_unknown_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no part 'validation'; known: train, test"):
        load_uea(tmp_path, "validation")


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*LSST_TRAIN\.ts: the folder must .*zip"):
        load_uea(tmp_path, "train")
    np.savez(tmp_path / "lsst_train.npz", X=series())
    with pytest.raises(DataError, match=r"lsst_train\.npz lacks y"):
        load_uea(tmp_path, "train")
    (tmp_path / "lsst_train.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is not an npz archive"):
        load_uea(tmp_path, "train")


@pytest.mark.parametrize(
    ("header", "last", "message"),
    [
        ("@problemName LSST\n", "", "has no line @data"),
        (HEADER, "1,2:x,4:90\n", "has a line that is no series .*'x'"),
        (HEADER, "1,2:3,4:90\n", "has a line that is no series"),
        (HEADER, ":".join(["1" + 35 * ",1"] * 6 + ["7"]), r"unknown PLAsTiCC classes \[7\]"),
    ],
)
def test_text_of_another_form(tmp_path: Path, header: str, last: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_uea(write_ts(tmp_path, header, last), "train")


def test_series_of_another_length(tmp_path: Path) -> None:
    np.savez(tmp_path / "lsst_test.npz", X=series()[:, :, 1:], y=np.array(NUMBERS))
    with pytest.raises(DataError, match=r"have the shape \(3, 6, 35\)"):
        load_uea(tmp_path, "test")
