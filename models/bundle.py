"""The deployed model: one ONNX file that describes itself, and its card.

``model.onnx`` runs in any ONNX Runtime. Its metadata carries, under the key
``tinyt2``, a JSON `Manifest` of at most 8 kB: all that serving needs to know.
Beside it lies ``card.json``, a `Card`: how the model was made and how good it
is. The sha256 of the model file is the model's identity.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from models.errors import BundleError, ConfigurationError
from models.feature_sets import FeatureSet, feature_set
from models.lightcurve import BANDS

__all__ = [
    "CARD_NAME",
    "DEPLOYED_MODEL",
    "MANIFEST_KEY",
    "MAX_MANIFEST_BYTES",
    "OUTPUT_NAMES",
    "Bundle",
    "Card",
    "Distribution",
    "DriftReference",
    "Golden",
    "Manifest",
    "ModelClass",
    "load_bundle",
    "open_session",
]

DEPLOYED_MODEL: Final = Path(__file__).parent / "deployed" / "model.onnx"
"""The model that serves unless another is named."""

CARD_NAME: Final = "card.json"
MANIFEST_KEY: Final = "tinyt2"
MAX_MANIFEST_BYTES: Final = 8192
_MAX_MODEL_BYTES: Final = 64 * 2**20
_MAX_CARD_BYTES: Final = 4 * 2**20
_EXTERNAL_DATA: Final = "session.model_external_initializers_file_folder_path"
_PROVIDER: Final = "CPUExecutionProvider"

OUTPUT_NAMES: Final = ("probabilities", "ood_score")
"""Graph outputs: [B, K] summing to 1, and [B] higher = less like the training data."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelClass(_Strict):
    """A class that the model can answer, with its id in `models.taxonomy`."""

    name: str
    id: int


class Golden(_Strict):
    """A light curve and what the model must answer for it, within 1e-4."""

    trigger_mjd: float
    mjd: list[float]
    band: list[str] = Field(description="Keys of the band table, for example 'ztf:g'.")
    flux: list[float] = Field(description="nJy")
    flux_err: list[float] = Field(description="nJy")
    detected: list[bool]
    probabilities: list[float]
    ood_score: float

    @field_validator("band")
    @classmethod
    def _known_bands(cls, band: list[str]) -> list[str]:
        if unknown := set(band) - {known.key for known in BANDS}:
            raise ValueError(f"the band table lacks {', '.join(sorted(unknown))}")
        return band

    @model_validator(mode="after")
    def _one_length(self) -> Golden:
        columns = (self.mjd, self.band, self.flux, self.flux_err, self.detected)
        if len(lengths := {len(column) for column in columns}) > 1:
            raise ValueError(f"its columns have different lengths: {sorted(lengths)}")
        return self


class Manifest(_Strict):
    """What serving needs to know of a model."""

    name: str
    version: str
    classes: list[ModelClass] = Field(min_length=1, description="In the order of the output.")
    bands: list[str] = Field(description="Band table the model was made with, in order.")
    surveys: list[str] = Field(description="Surveys whose alerts it accepts.")
    feature_spec: str = Field(description="What it reads, a name in `models.feature_sets`.")
    minimum_observations: int = Field(ge=1)
    ood_threshold: float | None = Field(
        description="Alerts with a higher out-of-distribution score are not classified."
    )
    length_buckets: list[int] = Field(description="Padded lengths it was checked with.")
    precision: str = Field(description="How the weights are stored: float32, int8, ...")
    training_data: str = Field(description="The honest name of what it was trained on.")
    notice: str = Field(description="What a user of its answers must know; may be empty.")
    recipe: str = Field(description="The command that made it.")
    parent: dict[str, Any] | None = Field(description="sha256 and shapes of the parent model.")
    golden: list[Golden] = Field(min_length=2)


class Distribution(_Strict):
    """How a value is distributed over the validation alerts."""

    mean: float
    std: float
    quantiles: list[float]


class DriftReference(_Strict):
    """What a stream is compared with; a card may leave out any of it."""

    alerts: int = 0
    quantile_levels: list[float] = []
    inputs: dict[str, Distribution] = Field(
        default={}, description="By channel of `models.features.OBJECT_CHANNELS`."
    )
    predicted_fractions: dict[str, float] = {}
    max_probability: Distribution | None = None
    ood_score: Distribution | None = None

    @model_validator(mode="after")
    def _one_quantile_per_level(self) -> DriftReference:
        levels = self.quantile_levels
        if levels != sorted(levels) or not all(0 < level < 1 for level in levels):
            raise ValueError(f"quantile levels {levels} do not rise from 0 to 1")
        for found in (*self.inputs.values(), self.max_probability, self.ood_score):
            if found is None:
                continue
            if len(found.quantiles) != len(levels) or found.quantiles != sorted(found.quantiles):
                raise ValueError(f"{found.quantiles} are no quantiles at the levels {levels}")
        return self


class Card(_Strict):
    """How a model was made and how good it is."""

    model_sha256: str
    name: str
    version: str
    notice: str
    architecture: dict[str, Any]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    drift_reference: dict[str, Any] = Field(description="A `DriftReference`.")
    libraries: dict[str, str]

    @field_validator("drift_reference")
    @classmethod
    def _can_be_compared_with(cls, reference: dict[str, Any]) -> dict[str, Any]:
        DriftReference.model_validate(reference)
        return reference


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that was loaded and found to be what it says."""

    path: Path
    sha256: str
    n_bytes: int
    manifest: Manifest
    card: Card
    features: FeatureSet
    session: ort.InferenceSession
    provider: str


def load_bundle(path: Path = DEPLOYED_MODEL, threads: int = 1) -> Bundle:
    """Load a model file and its card; raise `BundleError` when they are not sound."""
    content = _read(path, _MAX_MODEL_BYTES, "model")
    sha256 = hashlib.sha256(content).hexdigest()
    card = _load_card(path.parent / CARD_NAME, sha256)
    session = _opened(path, content, threads)
    providers = session.get_providers()
    if providers[:1] != [_PROVIDER]:
        raise BundleError(f"ONNX Runtime runs on {providers}, expected {_PROVIDER}", providers)
    manifest = _manifest(path, session)
    features = _features(path, manifest)
    _check_fit(path, manifest, features, session)
    return Bundle(path, sha256, len(content), manifest, card, features, session, providers[0])


def _read(path: Path, most: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BundleError(f"cannot read the {what} {path}: {error.strerror}", path) from error
    if len(content) > most:
        raise BundleError(f"{path} is larger than {most} bytes", path)
    return content


def _load_card(path: Path, sha256: str) -> Card:
    try:
        card = Card.model_validate_json(_read(path, _MAX_CARD_BYTES, "model's card"))
    except ValidationError as error:
        raise BundleError(f"{path} is not a model card: {error}", path) from error
    if card.model_sha256 != sha256:
        raise BundleError(
            f"{path} describes the model {card.model_sha256[:12]}, the file beside it is "
            f"{sha256[:12]}: copy model and card together",
            sha256,
        )
    return card


def open_session(content: bytes, threads: int = 1) -> ort.InferenceSession:
    """Open an ONNX file as it is served; raise what ONNX Runtime raises."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A model is one file: weights in another, which its card does not vouch for, are not looked
    # for anywhere that can exist. Libraries of custom operators are never registered.
    options.add_session_config_entry(_EXTERNAL_DATA, f"{os.devnull}/none")
    # Weights are stored quantized; this folds them to fp32 once, at load.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(content, options, providers=[_PROVIDER])


def _opened(path: Path, content: bytes, threads: int) -> ort.InferenceSession:
    try:
        return open_session(content, threads)
    # ONNX Runtime raises a dozen classes of its own that share only Exception.
    except Exception as error:
        raise BundleError(f"ONNX Runtime cannot load {path}: {error}", path) from error


def _manifest(path: Path, session: ort.InferenceSession) -> Manifest:
    text = session.get_modelmeta().custom_metadata_map.get(MANIFEST_KEY)
    if text is None:
        raise BundleError(f"{path} carries no tinyt2 manifest: not a tinyt2 model", path)
    if len(text.encode()) > MAX_MANIFEST_BYTES:
        raise BundleError(f"the manifest of {path} is larger than {MAX_MANIFEST_BYTES} bytes", path)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"the manifest of {path} is not valid: {error}", path) from error


def _features(path: Path, manifest: Manifest) -> FeatureSet:
    try:
        return feature_set(manifest.feature_spec)
    except ConfigurationError as error:
        raise BundleError(
            f"{path} needs the features {manifest.feature_spec!r}: {error}; install the tinyt2 "
            "that made it",
            manifest.feature_spec,
        ) from error


def _check_fit(
    path: Path, manifest: Manifest, features: FeatureSet, session: ort.InferenceSession
) -> None:
    """Raise `BundleError` when the graph or this tinyt2 is not what a manifest was made for."""
    _check_graph(path, manifest, features, session)
    if manifest.bands != [band.key for band in BANDS][: len(manifest.bands)]:
        raise BundleError(f"{path} was made with another band table", manifest.bands)
    if manifest.length_buckets != list(features.lengths):
        raise BundleError(
            f"{path} was checked with the length buckets {manifest.length_buckets}, "
            f"features are padded to {list(features.lengths)}",
            manifest.length_buckets,
        )


def _check_graph(
    path: Path, manifest: Manifest, features: FeatureSet, session: ort.InferenceSession
) -> None:
    """Raise `BundleError` when a graph has other inputs or outputs than its manifest says."""
    names = tuple(node.name for node in session.get_inputs())
    outputs = tuple(node.name for node in session.get_outputs())
    if names != features.names or outputs != OUTPUT_NAMES:
        raise BundleError(
            f"{path} maps {names} to {outputs}, expected {features.names} to {OUTPUT_NAMES}", names
        )
    for node, shape in zip(session.get_inputs(), features.shapes, strict=True):
        sizes = [size if isinstance(size, int) else None for size in node.shape]
        if sizes != [size if isinstance(size, int) else None for size in shape]:
            raise BundleError(
                f"{path} reads {node.name} of shape {node.shape}, the features "
                f"{features.spec!r} have {list(shape)}",
                node.shape,
            )
    answers = session.get_outputs()[0].shape[-1]
    if answers != len(manifest.classes):
        raise BundleError(
            f"{path} answers for {answers} classes, its manifest names {len(manifest.classes)}",
            answers,
        )
