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
    "Recipe",
    "TrainingRecipe",
]

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecipe(_Section):
    """What the model is called, and what its users must know."""

    name: str = "tiny"
    version: str = "0.1.0"
    surveys: list[str] = ["ztf", "lsst"]
    minimum_observations: Annotated[int, Field(ge=1)] = 3
    notice: str = ""


class DataRecipe(_Section):
    """What is trained on, and how it is divided."""

    dataset: str = Field("spcc", description="A loader of models.datasets, or 'simulation'.")
    split: Literal["object", "template"] = Field(
        "object", description="Hold out objects, or all objects of some templates."
    )
    split_seed: int = 0
    validation: Fraction = Field(0.1, description="Part of each class that choices are made on.")
    test: Fraction = Field(0.25, description="Part of each class that nothing is chosen on.")
    redshift: bool = Field(False, description="Use redshifts of host galaxies where known.")
    per_class: Annotated[int, Field(ge=1)] = Field(
        4000, description="Simulated objects of a class and survey to train on."
    )
    held_out_per_class: Annotated[int, Field(ge=1)] = Field(
        500, description="Simulated objects of a class and survey to validate, and to test, on."
    )
    artefacts: Fraction = Field(
        0.0, description="Simulated artefacts and flat curves, per object trained on."
    )


class NetworkRecipe(_Section):
    """The network and its size."""

    kind: Literal["tiny", "t2"] = "tiny"
    width: Annotated[int, Field(ge=1)] = 24
    latents: Annotated[int, Field(ge=1)] = 6
    heads: Annotated[int, Field(ge=1)] = 4
    latent_blocks: Annotated[int, Field(ge=0)] = 1
    bands: list[str] = Field(
        [], description="t2 only: bands, as lsst:g, that the Gaussian process is evaluated in."
    )


class TrainingRecipe(_Section):
    """The optimisation."""

    seed: int = Field(0, description="Of weights, batches and augmentation.")
    epochs: Annotated[int, Field(ge=1)] = 60
    batch: Annotated[int, Field(ge=1)] = Field(128, description="Curves per step.")
    lr: Annotated[float, Field(gt=0)] = Field(4e-3, description="Peak of the one-cycle rate.")
    warm_up: Fraction = Field(0.2, description="Part of the steps until the peak.")
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    averaging: Fraction = Field(
        0.998, description="Decay per step of the moving average of weights, which is the model."
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        20, description="Epochs without a better validation log-loss after which training stops."
    )
    balance: Fraction = Field(
        0.0, description="How classes are drawn: 0 as often as they are, 1 all alike."
    )
    flat: bool = Field(False, description="Weigh every class alike in the loss and in validation.")
    threads: Annotated[int, Field(ge=1)] = Field(
        1, description="Of torch. More change the order of sums, and with it the last bits."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"


class AugmentationRecipe(_Section):
    """How often, as a probability per curve, and how far curves are changed."""

    early: Fraction = Field(0.5, description="Cut at a random detection instead of the last.")
    dim: Fraction = Field(0.0, description="Dim by up to dim_mag, with the noise due to it.")
    dim_mag: float = 1.0
    drop: Fraction = Field(0.25, description="Drop up to drop_fraction of the observations.")
    drop_fraction: Fraction = 0.5
    short: Fraction = Field(0.2, description="Keep only the last short_days days.")
    short_days: float = 30.0
    detections_only: Fraction = Field(0.1, description="Keep only detections.")


class Recipe(_Section):
    """A training run."""

    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    network: NetworkRecipe = NetworkRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
