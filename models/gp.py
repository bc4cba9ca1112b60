r"""Gaussian-process interpolation of light curves, as the t2 paper prepares them.

Allam, Peloton, McEwen (2023), arXiv 2303.08951, after Boone (2019), arXiv 1907.04690.
Each curve is one process over time and wavelength with zero mean, the kernel

    k = a^2 (1 + sqrt(3) r) exp(-sqrt(3) r)        (Matern 3/2),
    r^2 = (dt / l)^2 + (dlambda / 6000 A)^2

and the measurement errors as white noise. Amplitude a and length l in time are fitted by
the marginal likelihood, from half the \|flux\| at the highest S/N and 20 d, within a factor
e^5 and 1 to 1000 d; the mean is evaluated at 100 equal steps in time, per band.

A curve is cut to the observations less than 50 d from its first to its last detection, and
the steps span what is left: the observations' own first to last time. At a trigger, nothing
later exists, neither for the cut nor for the fit; a complete curve is one whose trigger is
its last observation. Training and serving call this same code.

Beyond the paper: a curve without detections is not cut; one of more than 256 observations
is thinned as in `models.features`; errors below 10^-5 of the flux at the highest S/N are
raised to it, which rounding demands.

Notation: n curves, m observations of one, B curves of one call, L steps, C channels.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.features import LENGTH_BUCKETS, check_rows, thinned
from models.jit import compiled, inlined, vectorised
from models.lightcurve import BANDS, LightCurves

__all__ = ["GRID_STEPS", "Grids", "ProcessFit", "fit_processes", "grids"]

GRID_STEPS: Final = 100
"""L"""
_MARGIN_DAYS: Final = 50.0
_LENGTH_AA: Final = 6000.0
_START: Final = (np.log(0.25), np.log(20.0))
"""ln a^2, in units of the flux at the highest S/N, and ln l."""
_LOWEST: Final = np.array([_START[0] - 10.0, 0.0])
_HIGHEST: Final = np.array([_START[0] + 10.0, np.log(1000.0)])
_ERROR_FLOOR: Final = 0.01
"""Of the largest flux, in the search of the highest S/N only."""
_SMALLEST_ERROR: Final = 1e-5
_WAVELENGTH: Final = np.array([band.wavelength_aa for band in BANDS]) / _LENGTH_AA

_ITERATIONS: Final = 30
_TOLERANCE: Final = 1e-4
"""Gain in ln likelihood below which a step is not worth its cost."""
_LONGEST_STEP: Final = 2.0
_MOST_DAMPED: Final = 1e5
_SQUARINGS: Final = 8
_PIVOTS: Final = 4
"""Of one sweep; `_eliminate` names each."""


@dataclass(frozen=True, slots=True)
class Grids:
    """The interpolated light curves of B curves."""

    rows: npt.NDArray[np.int64]
    """[B] which curves these are."""
    steps: npt.NDArray[np.float32]
    """[B, L, C] mean of the process, nJy; zero for a curve without observations."""

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the one array that a network reads."""
        return (self.steps,)


@dataclass(frozen=True, slots=True)
class ProcessFit:
    """The fitted processes of B curves; NaN for a curve without observations."""

    amplitude: npt.NDArray[np.float64]
    """[B] a, nJy."""
    length_days: npt.NDArray[np.float64]
    """[B] l."""
    log_likelihood: npt.NDArray[np.float64]
    """[B] ln of the marginal likelihood of the fluxes in nJy, constants included."""


def grids(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    bands: Sequence[int],
) -> Grids:
    """Interpolate curves at their triggers, one channel per row of `BANDS` in ``bands``.

    ``trigger_mjd`` [n] is the time of each curve's triggering observation, days.
    `DataError` for rows that are not there and for a wrong number of triggers.
    """
    return Grids(rows, _run(curves, trigger_mjd, rows, bands)[0])


def fit_processes(
    curves: LightCurves, trigger_mjd: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> ProcessFit:
    """Return the processes that `grids` evaluates."""
    fitted = _run(curves, trigger_mjd, rows, ())[1]
    return ProcessFit(fitted[:, 0], fitted[:, 1], fitted[:, 2])


def _run(
    curves: LightCurves,
    trigger_mjd: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    bands: Sequence[int],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return steps [B, L, C] and amplitude, length and ln likelihood [B, 3]."""
    check_rows(curves, trigger_mjd, rows)
    starts, lengths = _around_detections(
        curves.splits[rows], curves.splits[rows + 1], trigger_mjd[rows], curves.mjd, curves.detected
    )
    splits, kept = thinned(starts, lengths, curves.band, LENGTH_BUCKETS[-1])
    steps = np.zeros((len(rows), GRID_STEPS, len(bands)), np.float32)
    fitted = np.full((len(rows), 3), np.nan)
    _interpolate(
        splits,
        curves.mjd[kept],
        _WAVELENGTH[curves.band[kept]],
        curves.flux[kept].astype(np.float64),
        curves.flux_err[kept].astype(np.float64),
        _WAVELENGTH[np.asarray(bands, np.int64)],
        steps,
        fitted,
    )
    return steps, fitted


@compiled
def _around_detections(starts, ends, triggers, mjd, detected):  # type: ignore[no-untyped-def]
    """Return first observation and number of observations of what each curve is cut to."""
    first = starts.copy()
    lengths = np.zeros(len(starts), np.int64)
    for row in range(len(starts)):
        end = starts[row]
        earliest, latest = np.inf, -np.inf
        while end < ends[row] and mjd[end] <= triggers[row]:
            if detected[end]:
                earliest, latest = min(earliest, mjd[end]), mjd[end]
            end += 1
        if earliest < np.inf:
            while mjd[first[row]] <= earliest - _MARGIN_DAYS:
                first[row] += 1
            while mjd[end - 1] >= latest + _MARGIN_DAYS:
                end -= 1
        lengths[row] = end - first[row]
    return first, lengths


@compiled
def _interpolate(  # type: ignore[no-untyped-def]
    splits, mjd, wavelength, flux, flux_err, grid_wavelength, steps, fitted
):
    longest = _PIVOTS
    for row in range(len(steps)):
        longest = max(longest, splits[row + 1] - splits[row])
    memory = np.empty((2, (longest + _PIVOTS) ** 2))
    grid = np.empty(steps.shape[1])
    mean = np.empty(steps.shape[1])
    for row in range(len(steps)):
        part = slice(splits[row], splits[row + 1])
        n = splits[row + 1] - splits[row]
        if n == 0:
            continue
        time = mjd[part] - mjd[splits[row]]
        scale = _scale(flux[part], flux_err[part])
        value = flux[part] / scale
        noise = np.maximum(flux_err[part] / scale, _SMALLEST_ERROR) ** 2
        parameters = np.array(_START)
        weights = np.empty(n)
        padded = -(-n // _PIVOTS) * _PIVOTS
        inverse = memory[0, : padded * padded].reshape((padded, padded))
        slope = memory[1, : n * n].reshape((n, n))
        likelihood = _fit(time, wavelength[part], value, noise, parameters, weights, inverse, slope)
        fitted[row, 0] = np.exp(0.5 * parameters[0]) * scale
        fitted[row, 1] = np.exp(parameters[1])
        fitted[row, 2] = likelihood - n * (np.log(scale) + 0.5 * np.log(2 * np.pi))
        for i in range(len(grid)):
            grid[i] = time[-1] * i / (len(grid) - 1)
        for channel in range(len(grid_wavelength)):
            distance = (wavelength[part] - grid_wavelength[channel]) ** 2
            _mean(grid, time, distance, weights, parameters, mean)
            for i in range(len(grid)):
                steps[row, i, channel] = mean[i] * scale


@compiled
def _scale(flux, flux_err):  # type: ignore[no-untyped-def]
    """Return the absolute flux at the highest S/N, or the largest error if all are zero."""
    floor = (_ERROR_FLOOR * flux.max()) ** 2
    best, scale = 0.0, 0.0
    for i in range(len(flux)):
        snr = abs(flux[i]) / np.sqrt(flux_err[i] ** 2 + floor)
        if snr > best:
            best, scale = snr, abs(flux[i])
    return scale if scale > 0.0 else flux_err.max()


@compiled
def _fit(  # type: ignore[no-untyped-def]
    time, wavelength, value, noise, parameters, weights, inverse, slope
):
    """Maximise the marginal likelihood; write parameters [2] and weights K^-1 y [m]; return it.

    Damped Newton steps with the average of observed and expected information in place of the
    Hessian: it needs no product of matrices (Gilmour, Thompson, Cullis 1995, Biometrics 51).
    """
    gradient, information = np.empty(2), np.empty(3)
    new_gradient, new_information = np.empty(2), np.empty(3)
    new, new_weights = np.empty(2), np.empty(len(value))
    best = _likelihood(
        time, wavelength, value, noise, parameters, inverse, slope, weights, gradient, information
    )
    damping = 1e-3
    for _ in range(_ITERATIONS):
        if _propose(parameters, gradient, information, damping, new) < _TOLERANCE:
            break
        found = _likelihood(
            time,
            wavelength,
            value,
            noise,
            new,
            inverse,
            slope,
            new_weights,
            new_gradient,
            new_information,
        )
        if found > best:
            best = found
            parameters[:], weights[:] = new, new_weights
            gradient[:], information[:] = new_gradient, new_information
            damping *= 0.1
        else:
            damping = max(damping, 0.01) * 10.0
            if damping > _MOST_DAMPED:
                break
    return best


@compiled
def _propose(parameters, gradient, information, damping, new):  # type: ignore[no-untyped-def]
    """Write the parameters after one step within bounds and return what it should gain."""
    free = np.empty(2, np.bool_)
    for i in range(2):
        low = parameters[i] <= _LOWEST[i] and gradient[i] < 0
        free[i] = not low and not (parameters[i] >= _HIGHEST[i] and gradient[i] > 0)
    h00 = information[0] * (1 + damping) + 1e-9
    h11 = information[2] * (1 + damping) + 1e-9
    h01 = information[1]
    step0 = gradient[0] / h00 if free[0] else 0.0
    step1 = gradient[1] / h11 if free[1] else 0.0
    if free[0] and free[1]:
        determinant = h00 * h11 - h01 * h01
        if determinant > 1e-9 * h00 * h11:
            step0 = (h11 * gradient[0] - h01 * gradient[1]) / determinant
            step1 = (h00 * gradient[1] - h01 * gradient[0]) / determinant
    shrink = min(1.0, _LONGEST_STEP / max(abs(step0), abs(step1), 1e-300))
    new[0] = min(max(parameters[0] + shrink * step0, _LOWEST[0]), _HIGHEST[0])
    new[1] = min(max(parameters[1] + shrink * step1, _LOWEST[1]), _HIGHEST[1])
    gain = gradient[0] * (new[0] - parameters[0]) + gradient[1] * (new[1] - parameters[1])
    return 0.5 * gain


@vectorised
def _likelihood(  # type: ignore[no-untyped-def]
    time, wavelength, value, noise, parameters, inverse, slope, weights, gradient, information
):
    """Return ln likelihood without constants, -inf where K is not positive; write the rest.

    With a = K^-1 y and D the derivative of K by a parameter: gradient (a'Da - tr K^-1 D) / 2,
    information a'D K^-1 D a / 2. By ln a^2, D is K without its noise; by ln l it is ``slope``.
    """
    n = len(value)
    _covariance(time, wavelength, parameters, inverse, slope)
    for i in range(n):
        inverse[i, i] += noise[i]
    for i in range(n, len(inverse)):
        inverse[i, : i + 1] = 0.0
        inverse[i, i] = 1.0
    determinant = _invert(inverse)
    if not determinant < np.inf:
        return -np.inf
    for i in range(n):
        for j in range(i + 1):
            inverse[i, j] = -inverse[i, j]
    _product(inverse, value, weights)
    first = value - noise * weights
    second = np.empty(n)
    _product(slope, weights, second)
    solved = np.empty(n)
    _product(inverse, second, solved)
    gradient[0] = -0.5 * n
    gradient[1] = 0.0
    information[:] = 0.0
    fit = 0.0
    for i in range(n):
        fit += value[i] * weights[i]
        gradient[0] += 0.5 * (weights[i] * first[i] + noise[i] * inverse[i, i])
        trace = 0.0
        for j in range(i):
            trace += inverse[i, j] * slope[i, j]
        # The diagonal of the slope is zero.
        gradient[1] += 0.5 * weights[i] * second[i] - trace
        information[1] += 0.5 * first[i] * solved[i]
        information[2] += 0.5 * second[i] * solved[i]
    _product(inverse, first, second)
    for i in range(n):
        information[0] += 0.5 * first[i] * second[i]
    return -0.5 * (fit + determinant)


@inlined
def _exponential(s):  # type: ignore[no-untyped-def]
    """Return exp(-s) for s >= 0, to 14 digits: unlike that of libm, it runs in vector registers.

    The Taylor series of exp(-s / 256), squared 8 times; below exp(-40) it is left at that.
    """
    x = (s if s < 40.0 else 40.0) * (-1.0 / 256.0)
    e = 1 + x * (1 / 5) * (1 + x * (1 / 6) * (1 + x * (1 / 7)))
    e = 1 + x * (1 + x * (1 / 2) * (1 + x * (1 / 3) * (1 + x * (1 / 4) * e)))
    for _ in range(_SQUARINGS):
        e *= e
    return e


@vectorised
def _covariance(time, wavelength, parameters, covariance, slope):  # type: ignore[no-untyped-def]
    """Write the lower triangles of the kernel's matrix and of its derivative by ln l."""
    power = np.exp(parameters[0])
    rate = 3.0 * np.exp(-2 * parameters[1])
    for i in range(len(time)):
        row, slope_row = covariance[i], slope[i]
        for j in range(i + 1):
            dt, dw = time[i] - time[j], wavelength[i] - wavelength[j]
            squared = dt * dt * rate
            s = np.sqrt(squared + 3.0 * dw * dw)
            e = power * _exponential(s)
            row[j] = (1.0 + s) * e
            slope_row[j] = squared * e


@vectorised
def _invert(lower):  # type: ignore[no-untyped-def]
    """Invert a positive matrix in its lower triangle, negated; return ln of its determinant.

    Sweeps (Goodnight 1979, The American Statistician 33, 149), four pivots at a time: almost
    all of it is one sum of long vectors. The size must be a multiple of four. Infinite, and
    the matrix spoilt, if it is not positive.
    """
    n = len(lower)
    logarithm = 0.0
    columns, pivot = np.empty((_PIVOTS, n)), np.empty((_PIVOTS, _PIVOTS))
    for k in range(0, n, _PIVOTS):
        for q in range(_PIVOTS):
            for i in range(k + q):
                columns[q, i] = lower[k + q, i]
            for i in range(k + q, n):
                columns[q, i] = lower[i, k + q]
            for r in range(_PIVOTS):
                pivot[q, r] = lower[k + max(q, r), k + min(q, r)]
        logarithm += _invert_pivot(pivot)
        if not logarithm < np.inf:
            return np.inf
        _eliminate(lower, k, columns, pivot)
    return logarithm


@vectorised
def _invert_pivot(pivot):  # type: ignore[no-untyped-def]
    """Invert a small positive matrix, negated; return ln of its determinant, or infinity."""
    logarithm = 0.0
    for k in range(_PIVOTS):
        diagonal = pivot[k, k]
        if not diagonal > 0.0:
            return np.inf
        logarithm += np.log(diagonal)
        pivot[k, k] = 1.0
        for j in range(_PIVOTS):
            pivot[k, j] /= diagonal
        for i in range(_PIVOTS):
            if i != k:
                factor = pivot[i, k]
                pivot[i, k] = 0.0
                for j in range(_PIVOTS):
                    pivot[i, j] -= factor * pivot[k, j]
    for i in range(_PIVOTS):
        for j in range(_PIVOTS):
            pivot[i, j] = -pivot[i, j]
    return logarithm


@vectorised
def _eliminate(lower, k, columns, pivot):  # type: ignore[no-untyped-def]
    """Sweep the four pivots from row k on out of the others; ``pivot`` is inverted, negated."""
    c0, c1, c2, c3 = columns[0], columns[1], columns[2], columns[3]
    factors = np.empty(_PIVOTS)
    for i in range(len(lower)):
        if k <= i < k + _PIVOTS:
            for q in range(i - k + 1):
                lower[i, k + q] = pivot[i - k, q]
            continue
        for q in range(_PIVOTS):
            p = pivot[q]
            factors[q] = p[0] * c0[i] + p[1] * c1[i] + p[2] * c2[i] + p[3] * c3[i]
        f0, f1, f2, f3 = factors[0], factors[1], factors[2], factors[3]
        row = lower[i]
        for j in range(i + 1):
            row[j] += f0 * c0[j] + f1 * c1[j] + f2 * c2[j] + f3 * c3[j]
        for q in range(_PIVOTS):
            if i < k:
                lower[k + q, i] = -factors[q]
            else:
                lower[i, k + q] = -factors[q]


@vectorised
def _product(lower, vector, product):  # type: ignore[no-untyped-def]
    """Write the product of a symmetric matrix, given its lower triangle, and a vector."""
    for i in range(len(vector)):
        total = lower[i, i] * vector[i]
        factor = vector[i]
        for j in range(i):
            total += lower[i, j] * vector[j]
            product[j] += lower[i, j] * factor
        product[i] = total


@vectorised
def _mean(grid, time, distance, weights, parameters, mean):  # type: ignore[no-untyped-def]
    """Write the mean of the process at times of one band, at squared distances from it [m]."""
    power = np.exp(parameters[0])
    rate = 3.0 * np.exp(-2 * parameters[1])
    mean[:] = 0.0
    for j in range(len(time)):
        for i in range(len(grid)):
            dt = grid[i] - time[j]
            s = np.sqrt(dt * dt * rate + 3.0 * distance[j])
            mean[i] += power * weights[j] * (1.0 + s) * _exponential(s)
