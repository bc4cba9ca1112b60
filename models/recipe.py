"""What a training run is told: the sections of its TOML file.

`deploy.configuration` reads the file, so that an unknown key is an error which
names the nearest known one; every default stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AugmentationRecipe",
    "DataRecipe",
    "ModelRecipe",
    "NetworkRecipe",
    "OptimiserRecipe",
    "Recipe",
    "Section",
    "TrainingRecipe",
]

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelRecipe(Section):
    """What the model is called, and what its users must know."""

    name: str = "tiny"
    version: str = "0.1.0"
    surveys: list[str] = ["ztf", "lsst"]
    minimum_observations: Annotated[int, Field(ge=1)] = 3
    notice: str = ""
    class_mix: dict[str, Annotated[float, Field(gt=0)]] = {}
    """How frequent classes are in the stream, relative to the others (1): probabilities are
    shifted to that mix."""


class DataRecipe(Section):
    """What is trained on, and how it is divided."""

    dataset: str = "spcc"
    """A loader of models.datasets, or 'simulation'."""
    split: Literal["object", "template"] = "object"
    """Hold out objects, or all objects of some templates."""
    split_seed: int = 0
    validation: Fraction = 0.1
    """Part of each class that choices are made on."""
    test: Fraction = 0.25
    """Part of each class that nothing is chosen on."""
    redshift: bool = False
    """Use redshifts of host galaxies where known."""
    per_class: Annotated[int, Field(ge=1)] = 4000
    """Simulated objects of a class and survey to train on."""
    held_out_per_class: Annotated[int, Field(ge=1)] = 500
    """Simulated objects of a class and survey to validate, and to test, on."""
    artefacts: Fraction = 0.0
    """Simulated artefacts and flat curves, per object trained on."""


class NetworkRecipe(Section):
    """The network and its size."""

    kind: Literal["tiny", "t2"] = "tiny"
    width: Annotated[int, Field(ge=1)] = 24
    latents: Annotated[int, Field(ge=1)] = 6
    heads: Annotated[int, Field(ge=1)] = 4
    latent_blocks: Annotated[int, Field(ge=0)] = 1
    head_size: Annotated[int, Field(ge=1)] | None = None
    """Channels of a head; width / heads by default."""
    feed_forward: Annotated[int, Field(ge=1)] | None = None
    """Units between the layers of a block; twice the width by default."""
    bands: list[str] = []
    """t2 only: bands, as lsst:g, that the Gaussian process is evaluated in."""


class OptimiserRecipe(Section):
    """One cycle of AdamW, or of Muon for the matrices between layers and AdamW for the rest."""

    epochs: Annotated[int, Field(ge=1)] = 60
    batch: Annotated[int, Field(ge=1)] = 128
    """Curves per step."""
    lr: Annotated[float, Field(gt=0)] = 4e-3
    """Peak of the one-cycle rate."""
    warm_up: Fraction = 0.2
    """Part of the steps until the peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    averaging: Fraction = 0.998
    """Decay per step of the moving average of weights, which is the model."""
    muon: bool = False
    """Make the steps of matrices orthogonal (`models.muon`)."""


class TrainingRecipe(OptimiserRecipe):
    """The optimisation."""

    seed: int = 0
    """Of weights, batches and augmentation."""
    patience: Annotated[int, Field(ge=1)] = 20
    """Epochs without a better validation log-loss after which training stops."""
    balance: Fraction = 0.0
    """How classes are drawn: 0 as often as they are, 1 all alike."""
    templates: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the log-loss of a second last layer, which tells templates apart and is thrown
    away after training: templates are finer than classes."""
    flat: bool = False
    """Weigh every class alike in the loss and in validation."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Of torch. More change the order of sums, and with it the last bits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class AugmentationRecipe(Section):
    """How often, as a probability per curve, and how far curves are changed."""

    early: Fraction = 0.5
    """Cut at a random detection instead of the last."""
    dim: Fraction = 0.0
    """Dim by up to dim_mag, with the noise due to it."""
    dim_mag: float = 1.0
    drop: Fraction = 0.25
    """Drop up to drop_fraction of the observations."""
    drop_fraction: Fraction = 0.5
    short: Fraction = 0.2
    """Keep only the last short_days days."""
    short_days: float = 30.0
    detections_only: Fraction = 0.1
    """Keep only detections."""
    stretch: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the logarithm of a factor on all times: templates are few."""
    tilt: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the slope d ln(flux) / d ln(wavelength) that colours are changed by."""


class Recipe(Section):
    """A training run."""

    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    network: NetworkRecipe = NetworkRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
