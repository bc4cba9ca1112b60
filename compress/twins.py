"""What the result of a chain is compared with: twins of its shape, and other ways to store it.

A twin is a new dense network of the same shape and bytes. If a chain is worth its steps, its
result is better than a twin that was trained alone, or distilled alone, for as many epochs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field

from compress.chain import Chain, Made
from compress.peers import quantized_by_onnxruntime
from compress.retraining import RetrainingRecipe
from compress.steps import (
    AnyStep,
    Cluster,
    Context,
    Distill,
    PruneMagnitude,
    PruneStructured,
    Quantize,
)
from compress.steps.distill import fresh
from compress.student import Student
from models.errors import ConfigurationError

__all__ = ["Dense", "twins", "variants"]

_SCHEMES: Final = ("float32", "int8", "uint8", "uint4")
_PEERS: Final = ("onnxruntime-dynamic", "onnxruntime-static")


class Dense(RetrainingRecipe):
    """Train a new network of the student's shape."""

    kind: Literal["dense"] = Field("dense")

    def apply(self, student: Student, context: Context) -> Student:
        """Return the new network; of the student only the shape is used."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            network = type(student.network)(student.network.config)  # type: ignore[arg-type]
        return context.retrained(fresh(Student(network), context), self)


def twins(chain: Chain, made: list[Made]) -> list[Made]:
    """Return the twins of the last stage: trained alone, and distilled alone."""
    final = made[-1]
    first = next((s for s in chain.recipe.steps if isinstance(s, Distill)), None)
    told = {} if first is None else _training(first)
    epochs = sum(_epochs(s) for s in chain.recipe.steps if not isinstance(s, Quantize | Cluster))
    found = []
    for name, alpha in {"alone": 0.0, "distilled": told.get("alpha", 0.8)}.items():
        dense = Dense(**{**told, "alpha": alpha, "epochs": max(epochs, 1)})
        steps: list[Any] = [dense]
        for step in chain.recipe.steps:
            if isinstance(step, Quantize | Cluster):
                steps.append(step.model_copy(update={"alpha": alpha}))
        seed = chain.recipe.transfer.seed * 1000 + 900
        found.append(chain.make(f"twins/{name}", final, steps, seed, chain.teacher, "twin"))
    return found


def variants(chain: Chain, made: list[Made]) -> list[Made]:
    """Return the result stored otherwise, as ``[report] variants`` lists."""
    wanted = chain.recipe.report.variants
    if unknown := set(wanted) - {*_SCHEMES, *_PEERS}:
        raise ConfigurationError(
            f"[report] variants: no {', '.join(unknown)}; there are {', '.join(_SCHEMES + _PEERS)}",
            wanted,
        )
    rounding = [i for i, s in enumerate(chain.recipe.steps) if isinstance(s, Quantize | Cluster)]
    exact = made[rounding[0]] if rounding else made[-1]
    told = _training(chain.recipe.steps[rounding[-1]]) if rounding else {"epochs": 0}
    found: dict[str, Made] = {}
    for name in _SCHEMES:
        if name in wanted or (name == "float32" and set(_PEERS) & set(wanted)):
            small = "float32" if name == "float32" else "float16"
            step = Quantize(**{**told, "weights": name, "small": small})
            seed = chain.recipe.transfer.seed * 1000 + 800
            found[name] = chain.make(
                f"variants/{name}", exact, [step], seed, chain.teacher, "variant"
            )
    for name in _PEERS:
        if name in wanted:
            path = quantized_by_onnxruntime(
                found["float32"].path, chain.transfer, name, Path(chain.out / "variants" / name)
            )
            found[name] = Made(name, path, found["float32"].student, "variant")
    return list(found.values())


def _training(step: AnyStep) -> dict[str, Any]:
    """Return how a step trains, without what else it does."""
    return {name: getattr(step, name) for name in RetrainingRecipe.model_fields}


def _epochs(step: AnyStep) -> int:
    """Return how often a step goes over the curves."""
    if isinstance(step, PruneStructured):
        return step.epochs + (step.rounds - 1) * step.between
    return step.epochs + (step.fine_tune if isinstance(step, PruneMagnitude) else 0)
