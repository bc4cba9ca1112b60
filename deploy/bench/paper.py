"""The way of the t2 paper from light curve to classes, one alert at a time.

Allam, Peloton, McEwen (2023), arXiv 2303.08951, with its parent, arXiv
2105.06178. Cut to 50 d around the detections; one Gaussian process per alert
over time and wavelength, with the package ``george`` as published; evaluated on
100 steps x g and r; a robust scaler per band; the t2 network, here in ONNX
Runtime with one thread and a batch of one.

In favour of the paper: the scaler is fitted once and applied with numpy, tables
are arrays, and ONNX Runtime replaces TensorFlow. The weights of the network are
random: good for its time, not for its answers.

Notation: m observations of one alert, B batch, L steps, C bands, K classes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import george
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from scipy.optimize import minimize

from deploy.bench.alerts import Histories
from models.export import to_onnx
from models.feature_sets import ProcessGrid
from models.lightcurve import BANDS, band_index
from models.t2 import T2, T2Config

__all__ = ["Curve", "PaperPath", "paper_curves"]

_KEYS: Final = ("ztf:g", "ztf:r")
_BANDS: Final = tuple(band_index(*key.split(":")) for key in _KEYS)
_WAVELENGTHS: Final = np.array([BANDS[b].wavelength_aa for b in _BANDS])
_STEPS: Final = 100
_MARGIN_DAYS: Final = 50.0
_LENGTH_DAYS: Final = 20.0
_MAX_LENGTH_DAYS: Final = 1000.0
_LENGTH_AA: Final = 6000.0
_ERROR_FLOOR: Final = 0.01
_AMPLITUDE_RANGE: Final = 10.0
"""How far ln(amplitude squared) may go from where it starts."""
_TOLERANCE: Final = 1e-6
_NO_LIKELIHOOD: Final = 1e25

Floats = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """The observations of one alert in g and r, all [m]."""

    mjd: Floats
    wavelength_aa: Floats
    flux: Floats
    flux_err: Floats
    detected: npt.NDArray[np.bool_]


def paper_curves(histories: Histories) -> list[Curve]:
    """Return the same observations as the paper's path takes them."""
    curves = histories.curves
    wavelength = np.array([band.wavelength_aa for band in BANDS])
    found = []
    for start, end in zip(curves.splits[:-1], curves.splits[1:], strict=True):
        rows = start + np.flatnonzero(np.isin(curves.band[start:end], _BANDS))
        found.append(
            Curve(
                curves.mjd[rows],
                wavelength[curves.band[rows]],
                curves.flux[rows].astype(np.float64),
                curves.flux_err[rows].astype(np.float64),
                curves.detected[rows],
            )
        )
    return found


class PaperPath:
    """Classify alerts as the paper does; the scaler is fitted to the given curves."""

    def __init__(self, curves: list[Curve]) -> None:
        steps = np.concatenate([self.interpolate(curve) for curve in curves])
        quartiles: Floats = np.percentile(steps, [25, 50, 75], axis=0)
        self._centre, self._spread = quartiles[1], quartiles[2] - quartiles[0]
        self._session = _t2_session()

    def interpolate(self, curve: Curve) -> Floats:
        """Return the mean of the Gaussian process at equal steps in time, [L, C]."""
        curve = _around_detections(curve)
        process = _fit(curve)
        times = np.linspace(curve.mjd[0], curve.mjd[-1], _STEPS)
        steps = np.empty((_STEPS, len(_WAVELENGTHS)))
        for i, wavelength in enumerate(_WAVELENGTHS):
            places = np.column_stack([times, np.full(_STEPS, wavelength)])
            # The original asks for the variance too, and lays it aside.
            steps[:, i], _ = process.predict(curve.flux, places, return_var=True)
        return steps

    def scale(self, steps: Floats) -> npt.NDArray[np.float32]:
        """Return the steps as the network reads them, [L, C] -> [1, L, C]."""
        return np.asarray((steps - self._centre) / self._spread, np.float32)[None]

    def network(self, steps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the class probabilities, [B, L, C] -> [B, K]."""
        (probabilities,) = self._session.run(["probabilities"], {"steps": steps})
        return np.asarray(probabilities)

    def classify(self, curve: Curve) -> npt.NDArray[np.float32]:
        """Go all the way, [1, K]."""
        return self.network(self.scale(self.interpolate(curve)))


def _around_detections(curve: Curve) -> Curve:
    times = curve.mjd[curve.detected]
    near = (curve.mjd > times[0] - _MARGIN_DAYS) & (curve.mjd < times[-1] + _MARGIN_DAYS)
    return Curve(*(column[near] for column in curve))


def _fit(curve: Curve) -> Any:
    """Return george's process with amplitude and length in time fitted to a curve."""
    flux = curve.flux
    error = np.hypot(curve.flux_err, _ERROR_FLOOR * flux.max())
    brightest = np.abs(flux[np.argmax(np.abs(flux) / error)])
    kernel = (0.5 * brightest) ** 2 * george.kernels.Matern32Kernel(
        [_LENGTH_DAYS**2, _LENGTH_AA**2], ndim=2
    )
    kernel.freeze_parameter("k2:metric:log_M_1_1")
    process = george.GP(kernel)
    process.compute(np.column_stack([curve.mjd, curve.wavelength_aa]), curve.flux_err)

    def cost(parameters: Floats) -> float:
        process.set_parameter_vector(parameters)
        likelihood = process.log_likelihood(flux, quiet=True)
        return -likelihood if np.isfinite(likelihood) else _NO_LIKELIHOOD

    def gradient(parameters: Floats) -> Floats:
        process.set_parameter_vector(parameters)
        return -np.asarray(process.grad_log_likelihood(flux, quiet=True))

    start = process.get_parameter_vector()
    amplitude = (start[0] - _AMPLITUDE_RANGE, start[0] + _AMPLITUDE_RANGE)
    found = minimize(
        cost,
        start,
        jac=gradient,
        method="L-BFGS-B",
        bounds=[amplitude, (0.0, np.log(_MAX_LENGTH_DAYS**2))],
        tol=_TOLERANCE,
    )
    process.set_parameter_vector(found.x if found.success else start)
    return process


@cache
def _t2_session() -> ort.InferenceSession:
    """Return the network with seeded random weights in ONNX Runtime, one thread."""
    torch.manual_seed(0)
    network = T2(T2Config(n_channels=len(_BANDS)))
    content = to_onnx(network, ProcessGrid(_KEYS))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
