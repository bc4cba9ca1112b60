"""The loader of SPCC and the table of loaders: they read the documented form, or say what lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.recfunctions import drop_fields

from models.datasets import LOADERS, load
from models.errors import ConfigurationError, DataError
from models.lightcurve import BANDS
from tests.models.supernovae import TEMPLATES, spcc_arrays, write_spcc

Arrays = dict[str, npt.NDArray[Any]]


def save(folder: Path, arrays: Arrays) -> Path:
    np.savez(folder / "spcc_train.npz", **arrays)  # type: ignore[arg-type]
    return folder


def test_spcc_is_read_as_it_is_written(tmp_path: Path) -> None:
    arrays = spcc_arrays(per_template=3)
    data = load("spcc", save(tmp_path, arrays))
    assert len(data) == len(arrays["obj"]) == 3 * sum(map(len, TEMPLATES.values()))
    assert data.object_id.tolist() == arrays["obj"]["snid"].tolist()
    assert [data.groups[g] for g in data.group] == arrays["obj"]["model"].tolist()
    np.testing.assert_array_equal(data.curves.splits, arrays["offset"])
    np.testing.assert_array_equal(data.curves.mjd, arrays["mjd"])
    assert [BANDS[b].key for b in data.curves.band] == [f"des:{'griz'[b]}" for b in arrays["band"]]


def test_spcc_types_become_three_classes(tmp_path: Path) -> None:
    arrays = spcc_arrays(per_template=2)
    data = load("spcc", save(tmp_path, arrays))
    assert data.classes == ("SNIa", "SNIbc", "SNII")
    got = {
        (str(kind), data.classes[label])
        for kind, label in zip(arrays["obj"]["type"], data.label, strict=True)
    }
    assert got == {
        ("Ia", "SNIa"),
        *((kind, "SNIbc") for kind in ("Ib", "Ic", "Ibc")),
        *((kind, "SNII") for kind in ("II", "IIn", "IIP")),
    }


def test_spcc_fluxes_are_njy_and_detections_above_five_sigma(tmp_path: Path) -> None:
    arrays = spcc_arrays(per_template=1)
    arrays["flux"][:3] = [27.5, 100.0, -100.0]
    arrays["err"][:3] = [5.5, 19.0, 10.0]
    curves = load("spcc", save(tmp_path, arrays)).curves
    # FLUXCAL 1 is magnitude 27.5; so is 10^((31.4 - 27.5) / 2.5) nJy.
    np.testing.assert_allclose(curves.flux, 36.307805 * arrays["flux"], rtol=1e-6)
    np.testing.assert_allclose(curves.flux_err, 36.307805 * arrays["err"], rtol=1e-6)
    assert curves.detected[:3].tolist() == [False, True, False]
    np.testing.assert_array_equal(curves.detected, arrays["flux"] > 5 * arrays["err"])


def test_missing_file_says_what_is_expected_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load("spcc", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path}/spcc_train.npz (No such file")
    for part in ("obj, offset, mjd, band, flux, err", "Kessler et al. 2010", "arXiv 1008.1024"):
        assert part in message


def test_file_that_is_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "spcc_train.npz").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="is not an npz archive"):
        load("spcc", tmp_path)


def without_err(arrays: Arrays) -> None:
    del arrays["err"]


def without_template(arrays: Arrays) -> None:
    arrays["obj"] = drop_fields(arrays["obj"], "model")


def unknown_type(arrays: Arrays) -> None:
    arrays["obj"]["type"][4] = "TDE"


def unknown_band(arrays: Arrays) -> None:
    arrays["band"][0] = 4


def short_column(arrays: Arrays) -> None:
    arrays["flux"] = arrays["flux"][:-1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_err, r"spcc_train\.npz lacks err: the folder must contain"),
        (without_template, "obj of .* lacks model: the folder must contain"),
        (unknown_type, r"unknown supernova types \['TDE'\]; known: Ia, Ib"),
        (unknown_band, r"band must be 0\.\.3 for griz"),
        (short_column, "offset ends at .* objects, columns"),
    ],
)
def test_file_of_another_form(
    tmp_path: Path, damage: Callable[[Arrays], None], message: str
) -> None:
    arrays = spcc_arrays(per_template=1)
    damage(arrays)
    with pytest.raises(DataError, match=message):
        load("spcc", save(tmp_path, arrays))


def test_unknown_data_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no data set 'plastic'; known: spcc, plasticc"):
        load("plastic", write_spcc(tmp_path, 1))
    names = {"spcc", "plasticc", "parquet", "bts", "stripe82", "pantheon", "asas"}
    assert set(LOADERS) == names


@pytest.mark.parametrize("name", LOADERS)
def test_every_loader_says_what_an_empty_folder_lacks(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "models/datasets/" in message, "where to read what is expected"


def test_spcc_redshifts_are_those_of_the_host_photometry(tmp_path: Path) -> None:
    arrays = spcc_arrays(per_template=1)
    objects = arrays["obj"]
    objects["specz"], objects["z"] = 0.9, 0.8
    objects["hz"] = np.linspace(0.1, 0.7, len(objects))
    objects["hz"][3], objects["hzerr"][4] = -9, -9
    curves = load("spcc", save(tmp_path, arrays)).curves
    redshift, error = objects["hz"].copy(), objects["hzerr"].copy()
    redshift[3] = error[3] = error[4] = np.nan
    np.testing.assert_array_equal(np.array(curves.redshift), redshift)
    np.testing.assert_array_equal(np.array(curves.redshift_err), error)
