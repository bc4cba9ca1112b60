"""The interpolation follows the published equations, and nothing that must not matter matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from models.errors import DataError
from models.features import LENGTH_BUCKETS, model_inputs
from models.gp import GRID_STEPS, ProcessFit, fit_processes, grids
from models.lightcurve import BANDS, DETECTION, FORCED, LightCurves, band_index
from tests.models.supernovae import random_curves

Floats = npt.NDArray[np.float64]

GRIZ = [band_index("des", name) for name in "griz"]
WAVELENGTH = np.array([band.wavelength_aa for band in BANDS])


def supernovae(lengths: list[int], noise: float = 0.05, seed: int = 0) -> LightCurves:
    """Return curves that rise and fall, at detections throughout, with a relative noise."""
    rng = np.random.default_rng(seed)
    curve = np.repeat(np.arange(len(lengths)), lengths)
    age = rng.uniform(-30, 45, len(curve))
    band = rng.choice(np.array(GRIZ, np.uint8), len(curve))
    peak = (10 ** rng.uniform(2, 5, len(lengths)))[curve]
    shape = np.where(age < 0, np.exp(age / 6), np.exp(-age / 20)) * (WAVELENGTH[band] / 6000) ** 0.5
    return LightCurves.from_observations(
        curve=curve,
        mjd=60000 + age,
        band=band,
        flux=(peak * (shape + noise * rng.normal(size=len(curve)))).astype(np.float32),
        flux_err=(peak * noise * rng.uniform(0.7, 1.3, len(curve))).astype(np.float32),
        rank=np.full(len(curve), DETECTION, np.uint8),
        n_curves=len(lengths),
    )


def last_times(curves: LightCurves) -> Floats:
    return curves.mjd[curves.splits[1:] - 1]


def steps(curves: LightCurves, trigger: Floats | None = None) -> npt.NDArray[np.float32]:
    """Return the grids of all curves in griz, at their last observations by default."""
    trigger = last_times(curves) if trigger is None else trigger
    return grids(curves, trigger, np.arange(len(curves)), GRIZ).steps


def fit(curves: LightCurves) -> ProcessFit:
    return fit_processes(curves, last_times(curves), np.arange(len(curves)))


def columns(curves: LightCurves, row: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return times, wavelengths in Angstrom, fluxes and errors of one curve."""
    part = slice(curves.splits[row], curves.splits[row + 1])
    flux, error = (x[part].astype(np.float64) for x in (curves.flux, curves.flux_err))
    return curves.mjd[part] - 60000, WAVELENGTH[curves.band[part]], flux, error


def kernel(
    a: tuple[Floats, Floats], b: tuple[Floats, Floats], amplitude: float, length: float
) -> Floats:
    """Return the covariance of places (times, wavelengths), as the textbook writes it."""
    dt, dw = (p[:, None] - q[None, :] for p, q in zip(a, b, strict=True))
    r = np.sqrt((dt / length) ** 2 + (dw / 6000.0) ** 2)
    return np.asarray(amplitude**2 * (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r))


def textbook_likelihood(curves: LightCurves, row: int, amplitude: float, length: float) -> float:
    """Return the ln marginal likelihood (Rasmussen & Williams 2006, equation 2.30)."""
    time, wavelength, flux, error = columns(curves, row)
    places = (time, wavelength)
    covariance = kernel(places, places, amplitude, length) + np.diag(error**2)
    _, determinant = np.linalg.slogdet(covariance)
    fit = flux @ np.linalg.solve(covariance, flux)
    return float(-0.5 * (fit + determinant + len(flux) * np.log(2 * np.pi)))


def textbook_mean(curves: LightCurves, row: int, amplitude: float, length: float) -> Floats:
    """Return the mean on the grid, [L, C] (Rasmussen & Williams 2006, equation 2.25)."""
    time, wavelength, flux, error = columns(curves, row)
    places = (time, wavelength)
    covariance = kernel(places, places, amplitude, length) + np.diag(error**2)
    weights = np.linalg.solve(covariance, flux)
    grid = np.linspace(time[0], time[-1], GRID_STEPS)
    means = [
        kernel((grid, np.full(GRID_STEPS, WAVELENGTH[band])), places, amplitude, length) @ weights
        for band in GRIZ
    ]
    return np.stack(means, axis=1)


CASES = {
    "supernovae": supernovae([2, 3, 8, 21, 60, 93, 150]),
    "precise": supernovae([5, 40], noise=1e-3),
    "noise": random_curves([1, 7, 50, 120], bands=GRIZ)[0],
}


def case(name: str) -> LightCurves:
    """Return curves of which the cut leaves all observations: forced photometry only."""
    return replace(CASES[name], detected=np.zeros(len(CASES[name].mjd), np.bool_))


@pytest.mark.parametrize("name", CASES)
def test_mean_is_that_of_the_textbook(name: str) -> None:
    curves = case(name)
    fitted, got = fit(curves), steps(curves)
    for row in range(len(curves)):
        expected = textbook_mean(curves, row, fitted.amplitude[row], fitted.length_days[row])
        np.testing.assert_allclose(got[row], expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_likelihood_is_that_of_the_textbook(name: str) -> None:
    curves = case(name)
    fitted = fit(curves)
    for row in range(len(curves)):
        expected = textbook_likelihood(curves, row, fitted.amplitude[row], fitted.length_days[row])
        np.testing.assert_allclose(fitted.log_likelihood[row], expected, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_likelihood_is_as_high_as_scipy_gets_it(name: str) -> None:
    """From the published start, within the published bounds."""
    curves = case(name)
    fitted = fit(curves)
    for row in range(len(curves)):
        _, _, flux, error = columns(curves, row)
        snr = np.abs(flux) / np.hypot(error, 0.01 * flux.max())
        start = np.log([0.5 * abs(flux[np.argmax(snr)]), 20.0])

        def cost(p: Floats, row: int = row) -> float:
            return -textbook_likelihood(curves, row, *np.exp(p))

        bounds = [(start[0] - 5, start[0] + 5), (0, np.log(1000))]
        found = minimize(cost, start, method="L-BFGS-B", bounds=bounds)
        assert fitted.log_likelihood[row] >= -found.fun - 2e-3
        np.testing.assert_array_less(np.log(fitted.amplitude[row]), bounds[0][1] + 1e-9)
        np.testing.assert_array_less(bounds[0][0] - 1e-9, np.log(fitted.amplitude[row]))
        assert 1 - 1e-9 <= fitted.length_days[row] <= 1000 + 1e-9


def test_a_known_process_is_found() -> None:
    """Of curves drawn from a process with l = 12 d, the fitted lengths lie around it."""
    rng = np.random.default_rng(8)
    n, size = 40, 80
    drawn = supernovae([size] * n)
    flux = drawn.flux.copy()
    for row in range(n):
        time, wavelength, _, _ = columns(drawn, row)
        covariance = kernel((time, wavelength), (time, wavelength), 1000.0, 12.0)
        factor = np.linalg.cholesky(covariance + np.eye(size) * 50.0**2)
        flux[row * size : (row + 1) * size] = factor @ rng.normal(size=size)
    fitted = fit(replace(drawn, flux=flux, flux_err=np.full(n * size, 50.0, np.float32)))
    assert 10.5 < np.exp(np.log(fitted.length_days).mean()) < 13.7
    assert 850 < np.exp(np.log(fitted.amplitude).mean()) < 1150


def test_mean_is_that_of_george() -> None:
    """The package that the paper uses, with the parameters that we fitted."""
    george = pytest.importorskip("george")
    curves = supernovae([12, 60])
    fitted, got = fit(curves), steps(curves)
    for row in range(len(curves)):
        time, wavelength, flux, error = columns(curves, row)
        metric = [fitted.length_days[row] ** 2, 6000.0**2]
        kernel = fitted.amplitude[row] ** 2 * george.kernels.Matern32Kernel(metric, ndim=2)
        process = george.GP(kernel)
        process.compute(np.column_stack([time, wavelength]), error)
        grid = np.linspace(time[0], time[-1], GRID_STEPS)
        for channel, band in enumerate(GRIZ):
            places = np.column_stack([grid, np.full(GRID_STEPS, WAVELENGTH[band])])
            expected = process.predict(flux, places, return_cov=False)
            np.testing.assert_allclose(got[row, :, channel], expected, atol=1e-5 * flux.max())
        np.testing.assert_allclose(fitted.log_likelihood[row], process.log_likelihood(flux))


def test_time_shift_changes_nothing() -> None:
    curves, trigger = random_curves([1, 5, 40, 300])
    shifted = replace(curves, mjd=curves.mjd + 1024.0)
    np.testing.assert_array_equal(steps(curves, trigger), steps(shifted, trigger + 1024.0))


def test_order_of_observations_changes_nothing() -> None:
    curves, trigger = random_curves([1, 5, 40, 300])
    curve = np.repeat(np.arange(len(curves)), curves.n_observations)
    shuffle = np.random.default_rng(1).permutation(len(curve))
    shuffled = LightCurves.from_observations(
        curve[shuffle],
        curves.mjd[shuffle],
        curves.band[shuffle],
        curves.flux[shuffle],
        curves.flux_err[shuffle],
        np.where(curves.detected, DETECTION, FORCED).astype(np.uint8)[shuffle],
        len(curves),
    )
    np.testing.assert_array_equal(steps(curves, trigger), steps(shuffled, trigger))


def test_batching_and_order_of_rows_change_nothing() -> None:
    curves, trigger = random_curves([30, 1, 200, 4, 0, 61])
    together = steps(curves, trigger)
    rows = np.array([5, 0, 4, 2, 2, 1, 3])
    np.testing.assert_array_equal(grids(curves, trigger, rows, GRIZ).steps, together[rows])
    for row in range(len(curves)):
        alone = grids(curves, trigger, np.array([row]), GRIZ).steps[0]
        np.testing.assert_array_equal(alone, together[row])


def test_channels_are_the_bands_asked_for() -> None:
    curves = supernovae([20])
    whole = steps(curves)
    some = grids(curves, last_times(curves), np.array([0]), [GRIZ[2], GRIZ[0]]).steps
    np.testing.assert_array_equal(some, whole[:, :, [2, 0]])


def test_it_scales_with_the_flux() -> None:
    curves = supernovae([25, 60])
    brighter = replace(curves, flux=curves.flux * 1024, flux_err=curves.flux_err * 1024)
    np.testing.assert_allclose(steps(brighter), steps(curves) * 1024, rtol=1e-6)


def test_nothing_after_the_trigger_is_seen() -> None:
    curves, _ = random_curves([60, 60])
    trigger = curves.mjd[curves.splits[:-1] + 30]
    later = curves.mjd > np.repeat(trigger, curves.n_observations)
    changed = replace(curves, flux=np.where(later, np.float32(1e6), curves.flux), detected=~later)
    seen = changed.where(~later)
    np.testing.assert_array_equal(steps(changed, trigger), steps(seen, trigger))


def test_it_is_cut_to_fifty_days_around_the_detections() -> None:
    days = np.array([0.0, 49.0, 51.0, 100.0, 110.0, 159.0, 161.0, 300.0])
    detected = np.isin(days, [100.0, 110.0])
    curves = replace(
        supernovae([len(days)]), mjd=60000 + days, detected=detected, band=np.full(8, 9, np.uint8)
    )
    kept = (days > 50) & (days < 160)
    np.testing.assert_array_equal(steps(curves), steps(curves.where(kept)))
    uncut = replace(curves, detected=np.zeros(len(days), np.bool_))
    assert not np.array_equal(steps(curves), steps(uncut))
    early = np.array([60000 + 105.0])
    np.testing.assert_array_equal(
        steps(curves, early), steps(curves.where((days > 50) & (days < 105)), early)
    )


def test_without_detections_nothing_is_cut() -> None:
    curves = case("supernovae")
    spread = replace(curves, mjd=60000 + (curves.mjd - 60000) * 10)
    assert (fit(spread).log_likelihood > -np.inf).all()
    row = 5
    time = columns(spread, row)[0]
    assert time[-1] - time[0] > 300
    expected = textbook_mean(spread, row, fit(spread).amplitude[row], fit(spread).length_days[row])
    np.testing.assert_allclose(steps(spread)[row], expected, atol=2e-6 * np.abs(expected).max())


def test_long_histories_are_thinned_as_tokens_are() -> None:
    curves = supernovae([LENGTH_BUCKETS[-1] + 200])
    (tokens,) = model_inputs(curves, last_times(curves))
    kept = np.isin((curves.mjd - curves.mjd[-1]).astype(np.float32), tokens.tokens[0, :, 0])
    assert kept.sum() == LENGTH_BUCKETS[-1]
    np.testing.assert_array_equal(steps(curves), steps(curves.where(kept)))


@pytest.mark.parametrize("flux", [0.0, 500.0, -500.0])
@pytest.mark.parametrize("detected", [True, False])
def test_a_single_point_is_finite(flux: float, detected: bool) -> None:
    curves = replace(
        supernovae([1]), flux=np.full(1, flux, np.float32), detected=np.array([detected])
    )
    got = steps(curves)
    assert np.isfinite(got).all()
    # Its grid has no extent: the mean is the same at all steps.
    assert (got == got[:, :1]).all()
    assert (np.sign(got) == np.sign(flux)).all()


def test_observations_of_one_time_are_finite() -> None:
    curves = replace(supernovae([4]), mjd=np.full(4, 60000.0), band=np.array(GRIZ, np.uint8))
    assert np.isfinite(steps(curves)).all()


def test_curves_without_observations_are_zero() -> None:
    curves, trigger = random_curves([0, 12, 0])
    got = steps(curves, trigger)
    assert (got[[0, 2]] == 0).all()
    assert (got[1] != 0).any()
    assert (steps(curves, trigger - 1000.0) == 0).all()
    fitted = fit_processes(curves, trigger, np.arange(3))
    assert np.isnan(fitted.amplitude).tolist() == [True, False, True]


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e-3, 1e6, 1e20])
@pytest.mark.parametrize("error", [1e-9, 1.0, 1e9])
def test_extreme_values_are_finite(factor: float, error: float) -> None:
    curves = supernovae([1, 2, 9, 70])
    extreme = replace(
        curves,
        flux=(curves.flux * factor).astype(np.float32),
        flux_err=(curves.flux_err * max(factor, 1e-12) * error).astype(np.float32),
    )
    assert np.isfinite(steps(extreme)).all()


def test_rows_and_triggers_are_checked() -> None:
    curves, trigger = random_curves([5])
    with pytest.raises(DataError, match="row 1 does not exist, there are 1 curves"):
        grids(curves, trigger, np.array([1]), GRIZ)
    with pytest.raises(DataError, match="2 trigger times for 1 curves"):
        fit_processes(curves, np.zeros(2), np.array([0]))
