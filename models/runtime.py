"""Classify light curves with a model bundle in ONNX Runtime.

Notation: n curves, K classes, B curves of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from models.bundle import DEPLOYED_MODEL, OUTPUT_NAMES, Bundle, Golden, load_bundle
from models.errors import BundleError
from models.feature_sets import Inputs
from models.lightcurve import DETECTION, FORCED, LightCurves, band_index

__all__ = [
    "Classifier",
    "OnnxClassifier",
    "Predictions",
    "exercise",
    "golden_curves",
    "load_classifier",
]

_GOLDEN_TOLERANCE: Final = 1e-4
_SUM_TOLERANCE: Final = 1e-3
_CALL_STEPS: Final = 2048
"""Steps in time of all curves of one call at most, about, when a service is busy."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers for the rows that were asked for, in their order."""

    probabilities: npt.NDArray[np.float32]
    """[n, K] each row sums to 1."""
    ood_score: npt.NDArray[np.float32]
    """[n] higher = less like the training data."""


class Classifier(Protocol):
    """Anything that turns light curves into class probabilities."""

    @property
    def bundle(self) -> Bundle:
        """The model that answers: its classes, validity and identity."""
        ...

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        """Classify the given rows of ``curves`` (all by default)."""
        ...


class OnnxClassifier:
    """A model bundle in an ONNX Runtime session."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle: Bundle = bundle

    def predict(
        self,
        curves: LightCurves,
        trigger_mjd: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Predictions:
        """Classify the given rows of ``curves`` (all by default)."""
        if rows is None:
            rows = np.arange(len(curves))
        k = len(self.bundle.manifest.classes)
        probabilities = np.empty((len(curves), k), np.float32)
        ood_score = np.empty(len(curves), np.float32)
        for inputs in self.bundle.features.chunks(curves, trigger_mjd, rows):
            probabilities[inputs.rows], ood_score[inputs.rows] = self.run(inputs)
        return Predictions(probabilities[rows], ood_score[rows])

    def run(self, inputs: Inputs) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return probabilities [B, K] and out-of-distribution scores [B] of one call."""
        # Binding buffers instead was measured: 1.02 to 1.07 times slower, at any batch.
        probabilities, ood_score = self.bundle.session.run(
            OUTPUT_NAMES, dict(zip(self.bundle.features.names, inputs.arrays, strict=True))
        )
        return probabilities, ood_score


def load_classifier(path: Path = DEPLOYED_MODEL, threads: int = 1) -> OnnxClassifier:
    """Load a bundle and check its golden outputs; raise `BundleError` if it is not sound.

    The check also compiles the kernels of its features, so that the first alert is not late.
    """
    classifier = OnnxClassifier(load_bundle(path, threads))
    for i, golden in enumerate(classifier.bundle.manifest.golden):
        answer = _asked(classifier, *golden_curves(golden))
        expected = np.array([*golden.probabilities, golden.ood_score])
        got = np.array([*answer.probabilities[0], *answer.ood_score])
        # NaN is close to nothing, itself included.
        if got.shape != expected.shape or not np.allclose(
            got, expected, rtol=0, atol=_GOLDEN_TOLERANCE
        ):
            raise BundleError(
                f"{path} answers {got.round(4).tolist()} for its golden input {i}, its manifest "
                f"says {expected.round(4).tolist()}: features or runtime differ from those that "
                "made it",
                got,
            )
    return classifier


def exercise(classifier: OnnxClassifier) -> Iterator[None]:
    """Run a model at each of its lengths, on one curve and on many, a call at a time.

    Then no batch is the first of its shape. Raises `BundleError` where it fails or answers
    what are no probabilities.
    """
    bundle = classifier.bundle
    for length in bundle.features.lengths:
        for n in (1, max(2, _CALL_STEPS // length)):
            answer = _asked(classifier, *_repeated(bundle.manifest.golden[0], length, n))
            # NaN is close to nothing.
            sums = answer.probabilities.sum(axis=1)
            if not np.allclose(sums, 1, rtol=0, atol=_SUM_TOLERANCE):
                raise BundleError(
                    f"{bundle.path} answers with probabilities that sum to {sums[0]} for curves "
                    f"of {length} observations",
                    length,
                )
            yield


def _asked(
    classifier: OnnxClassifier, curves: LightCurves, trigger_mjd: npt.NDArray[np.float64]
) -> Predictions:
    """Return the answers of a model that may not be sound."""
    try:
        return classifier.predict(curves, trigger_mjd)
    # ONNX Runtime raises a dozen classes of its own that share only Exception.
    except Exception as error:
        raise BundleError(
            f"ONNX Runtime cannot run {classifier.bundle.path}: {error}", classifier.bundle.path
        ) from error


def _repeated(golden: Golden, length: int, n: int) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return n curves of a length with the values of a golden input, and their trigger times."""
    once, (trigger_mjd,) = golden_curves(golden)
    values = np.resize(np.arange(len(once.mjd)), n * length)
    detected = once.detected[values]
    curves = LightCurves.from_observations(
        curve=np.repeat(np.arange(n), length),
        mjd=np.tile(trigger_mjd - 0.5 * np.arange(length)[::-1], n),
        band=once.band[values],
        flux=once.flux[values],
        flux_err=once.flux_err[values],
        rank=np.where(detected, DETECTION, FORCED).astype(np.uint8),
        n_curves=n,
    )
    return curves, np.full(n, trigger_mjd)


def golden_curves(golden: Golden) -> tuple[LightCurves, npt.NDArray[np.float64]]:
    """Return the light curve of a golden input and its trigger time, [1]."""
    band = [band_index(*key.split(":")) for key in golden.band]
    curves = LightCurves.from_observations(
        curve=np.zeros(len(band), np.int64),
        mjd=np.array(golden.mjd),
        band=np.array(band, np.uint8),
        flux=np.array(golden.flux, np.float32),
        flux_err=np.array(golden.flux_err, np.float32),
        rank=np.where(golden.detected, DETECTION, FORCED).astype(np.uint8),
        n_curves=1,
    )
    return curves, np.array([golden.trigger_mjd])
