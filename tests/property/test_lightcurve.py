"""What holds for light curves out of any observations."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.lightcurve import DETECTION, LightCurves

N_CURVES = 4
# Few distinct times and bands, so that exposures do repeat.
observations = st.lists(
    st.tuples(
        st.integers(0, N_CURVES - 1),
        st.sampled_from([1.0, 2.0, 2.5, 1e5, float("nan"), float("inf")]),
        st.integers(0, 2),
        st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
        st.sampled_from([1.0, 2.0, 0.0, -1.0, float("nan"), float("inf")]),
        st.integers(0, 2),
    ),
    max_size=40,
)


def built(rows: list[tuple[int, float, int, float, float, int]]) -> LightCurves:
    curve, mjd, band, flux, flux_err, rank = zip(*rows, strict=True) if rows else [()] * 6
    return LightCurves.from_observations(
        curve=np.array(curve, np.int64),
        mjd=np.array(mjd, np.float64),
        band=np.array(band, np.uint8),
        flux=np.array(flux, np.float32),
        flux_err=np.array(flux_err, np.float32),
        rank=np.array(rank, np.uint8),
        n_curves=N_CURVES,
    )


def rows_of(curves: LightCurves, i: int) -> list[tuple[float, int, float, float, bool]]:
    part = slice(curves.splits[i], curves.splits[i + 1])
    columns = (curves.mjd, curves.band, curves.flux, curves.flux_err, curves.detected)
    return list(zip(*(column[part].tolist() for column in columns), strict=True))


@settings(deadline=None)
@given(observations)
def test_sorted_once_per_exposure_and_the_best_value_of_each(
    rows: list[tuple[int, float, int, float, float, int]],
) -> None:
    curves = built(rows)
    assert len(curves) == N_CURVES
    for i in range(N_CURVES):
        best: dict[tuple[float, int], tuple[int, float, float]] = {}
        for curve, mjd, band, flux, flux_err, rank in rows:
            usable = np.isfinite([mjd, flux, flux_err]).all() and flux_err > 0
            if curve == i and usable and rank < best.get((mjd, band), (9, 0.0, 0.0))[0]:
                best[mjd, band] = (rank, flux, flux_err)
        expected = [
            (mjd, band, flux, flux_err, rank == DETECTION)
            for (mjd, band), (rank, flux, flux_err) in sorted(best.items())
        ]
        assert rows_of(curves, i) == expected


@settings(deadline=None)
@given(observations, st.lists(st.integers(0, N_CURVES - 1), max_size=8))
def test_take_gives_the_curves_asked_for(
    rows: list[tuple[int, float, int, float, float, int]], taken: list[int]
) -> None:
    curves = built(rows)
    subset = curves.take(np.array(taken, np.int64))
    assert [rows_of(subset, i) for i in range(len(subset))] == [rows_of(curves, i) for i in taken]


@settings(deadline=None)
@given(observations, st.integers(0, 2))
def test_where_keeps_curves_and_drops_observations(
    rows: list[tuple[int, float, int, float, float, int]], band: int
) -> None:
    curves = built(rows)
    kept = curves.where(curves.band != band)
    assert len(kept) == len(curves)
    for i in range(N_CURVES):
        assert rows_of(kept, i) == [row for row in rows_of(curves, i) if row[1] != band]
