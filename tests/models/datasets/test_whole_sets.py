"""The real files, as large as they are; needs the folder that TINYT2_DATA names.

They lie in ``labels/`` there, under the names that the loaders expect.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from models.datasets import load
from models.datasets.parquet import load_parquet, write_parquet
from models.datasets.uea import load_uea
from models.datasets.ztf_templates import load_ztf_templates
from tests.models.datasets.test_parquet import assert_same

FOLDER = Path(os.environ.get("TINYT2_DATA", "/nonexistent")) / "labels"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="TINYT2_DATA names no folder with labels/"
)


@pytest.mark.parametrize(
    ("name", "n_observations", "counts"),
    [
        ("spcc", 805_522, {"SNIa": 2543, "SNIbc": 558, "SNII": 5191}),
        ("bts", 44_098, {"SNIa": 2264, "SNIa-91bg": 10, "SNIax": 7}),
        # 8 of the 136,133 rows have the time and band of another.
        ("stripe82", 136_125, {"RRL": 483}),
        ("pantheon", 66_297, {"SNIa": 1099}),
        ("asas", 258_616, {"EB": 128, "Mira": 91, "RRL": 117, "Cepheid": 93, "d-Sct": 29}),
    ],
)
def test_counts(name: str, n_observations: int, counts: dict[str, int]) -> None:
    data = load(name, FOLDER)
    assert len(data.curves.mjd) == n_observations
    of_class = np.bincount(data.label, minlength=len(data.classes)).tolist()
    assert dict(zip(data.classes, of_class, strict=True)) == counts
    assert len(set(data.object_id.tolist())) == len(data)


def test_surveys_of_pantheon() -> None:
    data = load("pantheon", FOLDER)
    band = data.curves.band[data.curves.splits[:-1]]
    assert np.count_nonzero((band >= 9) & (band < 13)) == 248, "DES"
    assert np.count_nonzero(band >= 18) == 242 + 370 + 239, "Foundation, PS1-MD, SNLS"


def test_redshifts() -> None:
    known = {}
    for name in ("spcc", "bts", "pantheon"):
        redshift = load(name, FOLDER).curves.redshift
        assert redshift is not None
        known[name] = (len(redshift) - int(np.isnan(redshift).sum()), float(np.nanmax(redshift)))
    assert known["spcc"] == (8292, pytest.approx(1.2108))
    assert known["bts"][0] == 2281 - 2
    assert known["pantheon"][0] == 1099


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ("train", [34, 123, 270, 381, 62, 7, 153, 23, 313, 68, 120, 777, 77, 51]),
        ("test", [35, 124, 270, 382, 63, 7, 153, 24, 313, 68, 121, 777, 77, 52]),
    ],
)
def test_uea(part: str, counts: list[int]) -> None:
    assert np.bincount(load_uea(FOLDER / "uea_lsst", part).label).tolist() == counts


def test_templates() -> None:
    stars = load_ztf_templates(FOLDER)
    kinds = {kind: stars.kind.count(kind) for kind in sorted(set(stars.kind))}
    assert kinds == {
        "Cepheid": 57,
        "Delta Sct": 46,
        "Ellipsoidal": 75,
        "RR Lyr": 200,
        "Reflection": 58,
    }


def test_the_exchange_format_holds_all_of_it(tmp_path: Path) -> None:
    data = load("spcc", FOLDER)
    write_parquet(data, tmp_path / "spcc.parquet")
    assert_same(load_parquet(tmp_path), data)
    # Of 22 bytes per observation in memory.
    assert (tmp_path / "spcc.parquet").stat().st_size < 8 * len(data.curves.mjd)
