"""The struct of arrays and its table of bands."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import DataError
from models.lightcurve import BANDS, DETECTION, FORCED, UPPER_LIMIT, LightCurves, band_index


def test_band_rows_never_change() -> None:
    """Bundles store rows of the table: it may only grow at its end."""
    assert [band.key for band in BANDS[:13]] == [
        *(f"lsst:{name}" for name in "ugrizy"),
        *(f"ztf:{name}" for name in "gri"),
        *(f"des:{name}" for name in "griz"),
    ]
    assert [band_index(band.survey, band.name) for band in BANDS] == list(range(len(BANDS)))


def test_unknown_band_names_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no band 'y' of survey 'ztf'; known: lsst:u") as caught:
        band_index("ztf", "y")
    assert caught.value.value == "y"


def test_columns_must_have_one_length() -> None:
    column = np.zeros(2, np.float32)
    with pytest.raises(DataError, match="column flux_err has 1 values, splits end at 2"):
        LightCurves(
            splits=np.array([0, 2]),
            mjd=np.zeros(2),
            band=np.zeros(2, np.uint8),
            flux=column,
            flux_err=column[:1],
            detected=np.zeros(2, np.bool_),
        )


def test_splits_must_not_be_empty() -> None:
    empty = np.zeros(0, np.float32)
    with pytest.raises(DataError, match="splits end at -1"):
        LightCurves(
            splits=np.zeros(0, np.int64),
            mjd=np.zeros(0),
            band=np.zeros(0, np.uint8),
            flux=empty,
            flux_err=empty,
            detected=np.zeros(0, np.bool_),
        )


@pytest.mark.parametrize(
    ("splits", "band", "message"),
    [
        ([1, 2], 0, "splits must begin at 0"),
        ([-1, 2], 0, "splits must begin at 0"),
        ([0, 3, 2], 0, "never decrease"),
        ([0, -1, 2], 0, "never decrease"),
        ([0, 2], len(BANDS), "must hold rows 0 to 21 of BANDS"),
        ([0, 2], -1, "must hold rows 0 to 21 of BANDS"),
    ],
)
def test_what_kernels_index_by_is_in_bounds(splits: list[int], band: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LightCurves(
            splits=np.array(splits),
            mjd=np.zeros(2),
            band=np.array([0, band], np.uint8 if band >= 0 else np.int8),
            flux=np.zeros(2, np.float32),
            flux_err=np.ones(2, np.float32),
            detected=np.zeros(2, np.bool_),
        )


def test_one_exposure_keeps_its_best_value() -> None:
    curves = LightCurves.from_observations(
        curve=np.array([0, 0, 0, 0, 0]),
        mjd=np.array([2.0, 1.0, 1.0, 1.0, 1.0]),
        band=np.array([1, 1, 1, 1, 2], np.uint8),
        flux=np.array([5, 1, 2, 3, 4], np.float32),
        flux_err=np.ones(5, np.float32),
        rank=np.array([FORCED, UPPER_LIMIT, DETECTION, FORCED, UPPER_LIMIT], np.uint8),
        n_curves=2,
    )
    assert curves.flux.tolist() == [2, 4, 5]
    assert curves.detected.tolist() == [True, False, False]
    assert curves.n_observations.tolist() == [3, 0]
