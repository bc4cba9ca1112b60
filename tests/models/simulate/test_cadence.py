"""The tables of exposures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.errors import ConfigurationError, DataError
from models.lightcurve import BANDS
from models.simulate.cadence import load_cadence
from tests.models.simulate.cadence_inputs import DEEP_POSITION, LSST_DEPTH, ZTF_DEPTH


def test_exposures_of_a_position_are_in_order_of_time(inputs: Path) -> None:
    cadence = load_cadence(inputs, "ztf")
    steps = np.diff(cadence.mjd)
    inside = np.ones(len(steps), bool)
    inside[cadence.splits[1:-1] - 1] = False
    assert (steps[inside] >= 0).all()
    assert {BANDS[b].key for b in np.unique(cadence.band)} == {"ztf:g", "ztf:r"}


def test_rounded_times_are_spread(inputs: Path) -> None:
    rest = load_cadence(inputs, "ztf").mjd * 256 % 1
    assert np.ptp(rest) > 0.9


def test_ztf_has_the_depths_of_its_difference_images(inputs: Path) -> None:
    depth = load_cadence(inputs, "ztf").depth
    assert np.median(depth) == pytest.approx(ZTF_DEPTH, abs=0.05)
    assert np.std(depth) == pytest.approx(0.3, abs=0.03)


def test_deep_fields_are_stacked_per_night(inputs: Path) -> None:
    cadence = load_cadence(inputs, "lsst")
    deep = slice(cadence.splits[DEEP_POSITION], cadence.splits[DEEP_POSITION + 1])
    table = np.array([LSST_DEPTH[band.name] for band in BANDS[:6]])
    gain = cadence.depth[deep] - table[cadence.band[deep]]
    # Five visits, ten where both of a night are in one band.
    assert set(np.round(gain, 2)) == {0.87, 1.25}
    assert np.array_equal(cadence.depth[:10], table[cadence.band[:10]].astype(np.float32))


def test_a_window_holds_the_exposures_between_its_ends(inputs: Path) -> None:
    cadence = load_cadence(inputs, "lsst")
    position = np.array([0, 3])
    middle = cadence.mjd[cadence.splits[position] + 100]
    first, last = cadence.window(position, middle - 10, middle + 10)
    for i in range(2):
        span = slice(cadence.splits[position[i]], cadence.splits[position[i] + 1])
        near = np.abs(cadence.mjd[span] - middle[i]) <= 10
        assert np.array_equal(np.flatnonzero(near) + span.start, np.arange(first[i], last[i]))


def test_galactic_latitude_of_the_pole_and_the_centre(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    shutil.copytree(inputs, folder)
    rows = ["position,ra_deg,dec_deg", "0,192.85948,27.12825", "1,266.405,-28.936"]
    rows += [f"{i},100.0,0.0" for i in range(2, 6)]
    (folder / "cadence" / "ztf_positions.csv").write_text("\n".join(rows) + "\n")
    latitude = load_cadence(folder, "ztf").latitude
    assert latitude[0] == pytest.approx(90, abs=0.01)
    assert latitude[1] == pytest.approx(0, abs=0.1)


def test_unknown_survey_and_missing_files_are_named(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no survey 'sdss'; known: ztf, lsst"):
        load_cadence(inputs, "sdss")
    with pytest.raises(DataError, match="ztf_pointings"):
        load_cadence(tmp_path, "ztf")


def test_a_table_without_depths_is_refused(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    shutil.copytree(inputs, folder)
    shutil.copy(
        folder / "cadence" / "rubin_visits.parquet", folder / "cadence" / "ztf_pointings.parquet"
    )
    with pytest.raises(DataError, match="lacks limmag"):
        load_cadence(folder, "ztf")
