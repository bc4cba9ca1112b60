"""The sets of features that models are made for, by the name in their manifest.

=========================  =====================================================
``observation-tokens/1``   `models.features`: each observation is a token
``gp-grid/1:BAND,...``     `models.gp`: a Gaussian process at equal steps in
                           time, a channel per band: ``gp-grid/1:ztf:g,ztf:r``
=========================  =====================================================

Training, export, evaluation and serving go through `FeatureSet` alone: what a
network reads is decided in one place.

Notation: n curves, B curves of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.features import (
    FEATURE_SPEC,
    INPUT_NAMES,
    LENGTH_BUCKETS,
    chunked_inputs,
    model_inputs,
    n_usable,
)
from models.gp import GRID_STEPS, Grids, grids
from models.lightcurve import BANDS, LightCurves

__all__ = ["FeatureSet", "Inputs", "ObservationTokens", "ProcessGrid", "feature_set"]

_CHUNK_TOKENS: Final = 2048
"""Tokens per call: larger batches fall out of the cache and are slower per curve."""
_CALL_TOKENS: Final = 256
"""Tokens that cost as much as a call does whatever its size."""
_PROCESS_GRID: Final = "gp-grid/1"
_CHUNK_CURVES: Final = 8
"""Grids per call: larger batches fall out of the cache and are slower per curve."""
_PREPARED_CURVES: Final = 512
"""Curves that are interpolated at once, which bounds the memory."""


class Inputs(Protocol):
    """What a network reads of B curves."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """[B] which curves these are."""
        ...

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """One array [B, ...] per input of the graph, in the order of `FeatureSet.names`."""
        ...


class FeatureSet(Protocol):
    """A way to turn light curves into what a network reads.

    In all methods ``trigger_mjd`` [n] is the time of each curve's triggering observation,
    days; later observations are left out. ``rows`` selects curves, in any order; `DataError`
    for rows that are not there and for a wrong number of triggers.
    """

    @property
    def spec(self) -> str:
        """Name, version and parameters: the ``feature_spec`` of manifests."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""
        ...

    @property
    def axes(self) -> tuple[tuple[str, ...], ...]:
        """Names of the leading axes of each input that may have any size."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths in time that curves are padded or interpolated to: ``length_buckets``."""
        ...

    def inputs(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> list[Inputs]:
        """Return the inputs of the rows (all by default), one element per shape that occurs."""
        ...

    def batch(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Inputs:
        """Return the inputs of the rows, in their order, in arrays of one shape: to train on."""
        ...

    def chunks(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Iterator[Inputs]:
        """Yield the inputs of the rows in chunks, in any order, that are cheap to run: to serve."""
        ...


@dataclass(frozen=True, slots=True)
class ObservationTokens:
    """The features of `models.features`."""

    spec: str = FEATURE_SPEC
    names: tuple[str, ...] = INPUT_NAMES
    axes: tuple[tuple[str, ...], ...] = (("batch", "length"), ("batch", "length"), ("batch",))
    lengths: tuple[int, ...] = LENGTH_BUCKETS

    def inputs(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> list[Inputs]:
        """Return the inputs of the rows, one element per length bucket."""
        return list(model_inputs(curves, trigger_mjd, rows))

    def batch(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Inputs:
        """Return the inputs of the rows, padded to the longest of them."""
        longest = int(n_usable(curves, trigger_mjd)[rows].max(initial=1))
        length = min(longest, LENGTH_BUCKETS[-1])
        return model_inputs(curves, trigger_mjd, rows, (length,))[0]

    def chunks(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Iterator[Inputs]:
        """Yield chunks of curves of about one length, longest first."""
        return chunked_inputs(curves, trigger_mjd, rows, _CHUNK_TOKENS, _CALL_TOKENS)


@dataclass(frozen=True, slots=True)
class ProcessGrid:
    """The features of `models.gp`, with a channel for each of some bands.

    ``bands`` are keys of `BANDS` and may be of any survey: the process runs over wavelength.
    `ConfigurationError` for none, for one twice and for one that the table lacks.
    """

    bands: tuple[str, ...]
    names: tuple[str, ...] = ("steps",)
    axes: tuple[tuple[str, ...], ...] = (("batch",),)
    lengths: tuple[int, ...] = (GRID_STEPS,)

    def __post_init__(self) -> None:
        known = [band.key for band in BANDS]
        if wrong := sorted(set(self.bands) - set(known)):
            raise ConfigurationError(
                f"no band {', '.join(wrong)} for a grid; known: {', '.join(known)}", wrong
            )
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ConfigurationError(
                f"a grid needs one band or more, each once, not {list(self.bands)}", self.bands
            )

    @property
    def spec(self) -> str:
        """Return the name with the bands, in the order of the channels."""
        return f"{_PROCESS_GRID}:{','.join(self.bands)}"

    def inputs(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> list[Inputs]:
        """Return the grids of the rows as one element."""
        return [self.batch(curves, trigger_mjd, np.arange(len(curves)) if rows is None else rows)]

    def batch(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Grids:
        """Return the grids of the rows."""
        index = {band.key: i for i, band in enumerate(BANDS)}
        return grids(curves, trigger_mjd, rows, [index[key] for key in self.bands])

    def chunks(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
    ) -> Iterator[Inputs]:
        """Yield the grids of a few rows at a time."""
        for start in range(0, len(rows), _PREPARED_CURVES):
            block = self.batch(curves, trigger_mjd, rows[start : start + _PREPARED_CURVES])
            for i in range(0, len(block.rows), _CHUNK_CURVES):
                few = slice(i, i + _CHUNK_CURVES)
                yield Grids(block.rows[few], block.steps[few])


def feature_set(spec: str) -> FeatureSet:
    """Return the features of a manifest's ``feature_spec``; `ConfigurationError` if unknown."""
    if spec == FEATURE_SPEC:
        return ObservationTokens()
    name, _, bands = spec.partition(":")
    if name == _PROCESS_GRID:
        return ProcessGrid(tuple(bands.split(",")))
    raise ConfigurationError(
        f"unknown features {spec!r}: this tinyt2 computes {FEATURE_SPEC!r} and "
        f"{_PROCESS_GRID + ':BAND,...'!r}",
        spec,
    )
