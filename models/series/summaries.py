"""Summary features of equal-length flux series that keep the amplitude.

Methods that normalise each series lose what tells a nova from a supernova at a
glance: how bright it gets, in which bands. These features keep it, on asinh and
logarithmic scales. What depends on a time depends on differences of times only,
so a series that is shifted in its window keeps most of its features.

Notation: n series, P bands, T steps, F features. Flux in the unit of the data; a
floor of `_FLOOR` of it keeps the logarithms of flat series finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError

__all__ = ["MIN_STEPS", "noise", "summarise"]

Floats = npt.NDArray[np.float64]

MIN_STEPS: Final = 8
"""Shorter series have no spectrum and no lags to speak of."""

_FLOOR: Final = 0.1
_QUANTILES: Final = (0, 0.03, 0.09, 0.17, 0.26, 0.37, 0.51, 0.63, 0.74, 0.83, 0.91, 0.97, 1)
_LAGS: Final = (1, 2, 3, 4, 6, 9, 12)
_PROFILE: Final = (-6, -4, -2, -1, 1, 2, 3, 4, 6, 8, 12)
"""Steps from the peak at which the height of the series is a feature."""
_SPECTRAL_EDGES: Final = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 19)
"""Edges of the spectral bins: harmonics of a window of 36 steps."""
_GLOBAL_QUANTILES: Final = (0.1, 0.28, 0.5, 0.7, 0.88, 0.95, 0.98, 1)


def summarise(flux: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return features [n, F] of series [n, P, T], all finite.

    `DataError` for arrays of another form, for values that are not finite and
    for series of fewer than `MIN_STEPS` steps.
    """
    if flux.ndim != 3 or flux.shape[2] < MIN_STEPS or not np.isfinite(flux).all():
        raise DataError(
            f"series must be finite, [n, bands, steps >= {MIN_STEPS}], not {flux.shape}",
            flux.shape,
        )
    moments = _Moments(flux.astype(np.float64))
    parts = [
        *_levels(moments),
        *_shapes(moments),
        *_peaks(moments),
        *_spectrum(moments),
        *_colours(moments),
        *_whole(moments),
    ]
    return np.concatenate([part.reshape(len(flux), -1) for part in parts], 1).astype(np.float32)


def noise(flux: npt.NDArray[np.floating]) -> Floats:
    """Return the scatter of neighbouring steps [n, P], robustly: what no smooth signal makes."""
    step = np.abs(np.diff(flux, axis=-1))
    return np.asarray(np.median(step, axis=-1) * 1.4826 / np.sqrt(2), np.float64)


class _Moments:
    """What several features need of series [n, P, T]; per band [n, P] unless said otherwise."""

    def __init__(self, flux: Floats) -> None:
        self.flux = flux
        self.steps = flux.shape[-1]
        self.ordered = np.sort(flux, axis=-1)  # [n, P, T]
        self.median = np.median(flux, axis=-1)
        self.mean = flux.mean(axis=-1)
        self.std = flux.std(axis=-1) + _FLOOR
        self.noise = noise(flux) + _FLOOR
        self.mad = 1.4826 * np.median(np.abs(flux - self.median[..., None]), axis=-1) + _FLOOR
        self.low, self.high = self.ordered[..., 0], self.ordered[..., -1]
        self.range = self.high - self.low + _FLOOR
        self.unit = (flux - self.mean[..., None]) / self.std[..., None]  # [n, P, T]
        rise = self.high - self.median + _FLOOR
        self.height = (flux - self.median[..., None]) / rise[..., None]  # [n, P, T], 1 at the peak
        self.peak = flux.argmax(axis=-1)

    def at(self, quantiles: tuple[float, ...]) -> Floats:
        """Return the ordered flux [n, P, Q] at quantiles, without interpolation."""
        rows = np.rint(np.array(quantiles) * (self.steps - 1)).astype(np.int64)
        return np.asarray(self.ordered[..., rows])


def _levels(m: _Moments) -> Iterator[Floats]:
    """Amplitudes, and how they compare."""
    yield np.arcsinh(m.at(_QUANTILES))
    yield np.arcsinh(m.mean)
    roughness = np.median(np.abs(np.diff(m.flux, 3, axis=-1)), axis=-1) / 3 + _FLOOR / 10
    for scale in (m.noise, roughness, m.mad, m.std, m.range):
        yield np.log(scale)
    for scale in (m.noise, roughness, m.mad):
        yield np.log(scale / m.std)
    yield np.arcsinh(m.mean / m.std)
    yield np.arcsinh((m.high - m.median) / m.noise)
    yield np.arcsinh((m.low - m.median) / m.noise)
    yield (m.high - m.median) / m.range
    quiet = np.sort(np.abs(m.flux - m.median[..., None]), axis=-1)
    yield np.log(quiet[..., [m.steps // 7, m.steps // 3]] + _FLOOR / 2)


def _shapes(m: _Moments) -> Iterator[Floats]:
    """Moments, autocorrelations, and how long the series is where."""
    yield (m.unit**3).mean(axis=-1)
    yield np.log((m.unit**4).mean(axis=-1) + 1e-3)
    for lag in (lag for lag in _LAGS if lag < m.steps):
        yield (m.unit[..., lag:] * m.unit[..., :-lag]).mean(axis=-1)
    for level in (0.25, 0.5, 0.75):
        yield (m.height > level).mean(axis=-1)
    depth = (m.median[..., None] - m.flux) / (m.median - m.low + _FLOOR)[..., None]
    yield (depth > 0.5).mean(axis=-1)
    excess = (m.flux - m.median[..., None]) / m.noise[..., None]
    yield (excess > 5).mean(axis=-1)
    yield (excess < -5).mean(axis=-1)
    yield (m.flux < 0).mean(axis=-1)
    for signs in (np.sign(m.unit), np.sign(np.diff(m.flux, axis=-1))):
        yield (np.diff(signs, axis=-1) != 0).mean(axis=-1)


def _peaks(m: _Moments) -> Iterator[Floats]:
    """Rise and decline around the highest step of each band, and the order of the peaks."""
    step, peak = np.arange(m.steps), m.peak[..., None]
    for level in (0.5, 0.2):
        below = m.height < level
        decline = np.where(below & (step > peak), step, m.steps).min(axis=-1) - m.peak
        rise = m.peak - np.where(below & (step < peak), step, -1).max(axis=-1)
        yield from (np.log(decline), np.log(rise), np.log(decline / rise))
    around = np.clip(peak + np.array(_PROFILE), 0, m.steps - 1)
    yield np.clip(np.take_along_axis(m.height, around, axis=-1), -2, 2)
    yield np.diff(m.peak, axis=1).astype(np.float64)
    yield m.peak - np.median(m.peak, axis=1, keepdims=True)
    yield m.peak.std(axis=1)


def _spectrum(m: _Moments) -> Iterator[Floats]:
    """Power per bin of frequency and the mean frequency, under a Hann window."""
    window = np.hanning(m.steps + 2)[1:-1]
    power = np.abs(np.fft.rfft(m.unit * window, axis=-1)) ** 2
    power /= power.sum(axis=-1, keepdims=True) + 1e-9
    harmonic = np.arange(power.shape[-1]) * 36 / m.steps
    bins = np.searchsorted(_SPECTRAL_EDGES, harmonic, side="right") - 1
    share = [power[..., bins == b].sum(axis=-1) for b in range(len(_SPECTRAL_EDGES) - 1)]
    yield np.log(np.stack(share, axis=-1) + 1e-4)
    yield (power * harmonic).sum(axis=-1)


def _colours(m: _Moments) -> Iterator[Floats]:
    """How the bands go together, and the ratios of their amplitudes."""
    first, second = np.triu_indices(m.flux.shape[1], 1)
    yield (np.einsum("npt,nqt->npq", m.unit, m.unit) / m.steps)[:, first, second]
    rise = np.maximum(m.at((0.97,))[..., 0] - m.median, 3 * _FLOOR)
    fall = np.maximum(m.median - m.at((0.03,))[..., 0], 3 * _FLOOR)
    for scale in (m.std, m.range, rise, m.noise, fall):
        log = np.log(scale)
        yield log[:, first] - log[:, second]
        yield log - log.mean(axis=1, keepdims=True)
        yield from (log.max(axis=1), log.mean(axis=1))
    mean = np.arcsinh(m.mean)
    yield mean[:, first] - mean[:, second]


def _whole(m: _Moments) -> Iterator[Floats]:
    """Fluxes at the step where all bands together stand out most; amplitude of all bands."""
    excess = (m.flux - m.median[..., None]) / m.noise[..., None]
    together = np.clip(excess, -20, 50).sum(axis=1)  # [n, T]
    event = together.argmax(axis=1)[:, None, None]
    yield np.arcsinh(np.take_along_axis(m.flux, event, axis=-1))
    yield np.arcsinh(np.quantile(together, (0, 0.09, 0.51, 0.86, 0.97, 1), axis=1).T)
    size = np.abs(m.flux).reshape(len(m.flux), -1)
    yield np.log(np.quantile(size, _GLOBAL_QUANTILES, axis=1).T + _FLOOR / 2)
    yield np.log((m.flux**2).mean(axis=(1, 2)) + _FLOOR)
    yield (m.flux < 0).mean(axis=(1, 2))
