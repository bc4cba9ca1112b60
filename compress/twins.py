"""What a chain is compared with: twins of result and teacher, and other ways to store the result.

A twin is a new dense network of the same shape and bytes. If a chain is worth its steps, its
result is better than a twin that was trained alone, or distilled alone, for as many epochs. Zeros
save bytes only in a zip: a chain that makes them has a third twin, smaller and dense, whose zip is
as large (arXiv 1710.01878). The teacher's twin has half its width and is trained as it was: were
that as good, the teacher would be large for the sake of the ratio.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field

from compress.chain import Chain, Made
from compress.peers import quantized_by_onnxruntime
from compress.retraining import RetrainingRecipe
from compress.sizes import sizes, zipped_bytes
from compress.steps import (
    AnyStep,
    Cluster,
    Context,
    Distill,
    PruneMagnitude,
    Quantize,
)
from compress.steps.distill import fresh
from compress.stored import stored_onnx
from compress.student import Student, baked, constrained, untrained
from models.errors import ConfigurationError
from models.export import MODEL_NAME
from models.recipe import OptimiserRecipe
from models.t2 import T2Config
from models.tiny import TinyConfig
from models.trainer import trained_before

__all__ = ["Dense", "twins", "variants"]

_SCHEMES: Final = ("float32", "int8", "uint8", "uint4")
_PEERS: Final = ("onnxruntime-dynamic", "onnxruntime-static")
_HALVINGS: Final = 7
"""Of the sizes among which the smaller twin is looked for."""


class Dense(RetrainingRecipe):
    """Train a new network of the student's shape."""

    kind: Literal["dense"] = Field("dense")

    def apply(self, student: Student, context: Context) -> Student:
        """Return the new network; of the student only the shape is used."""
        network = untrained(student.network.config, context.seed)
        return context.retrained(fresh(Student(network), context), self)


def twins(chain: Chain, made: list[Made]) -> list[Made]:
    """Return twins of the last stage, trained alone, distilled alone, smaller; the teacher's."""
    steps, final = chain.recipe.steps, made[-1]
    told, epochs = _taught(chain)
    epochs += sum(s.total_epochs for s in steps if not isinstance(s, Quantize | Cluster))
    shapes = {"alone": (0.0, final), "distilled": (told.get("alpha", 0.8), final)}
    pruned = next((s for s in steps if isinstance(s, PruneMagnitude)), None)
    if pruned is not None:
        shapes["small"] = (pruned.alpha, replace(final, student=_of_equal_zip(chain, final)))
    found = []
    for name, (alpha, shape) in shapes.items():
        dense = Dense(**{**told, "alpha": alpha, "epochs": max(epochs, 1)})
        rounding = [s for s in steps if isinstance(s, Quantize | Cluster)]
        own: list[Any] = [dense, *(s.model_copy(update={"alpha": alpha}) for s in rounding)]
        seed = chain.recipe.transfer.seed * 1000 + 900
        found.append(chain.make(f"twins/{name}", shape, own, seed, chain.teacher, "twin"))
    return [*found, _half_of_the_teacher(chain)]


def _half_of_the_teacher(chain: Chain) -> Made:
    """Return the teacher with half the channels and heads, trained on the same."""
    network, folder = chain.learnt.network, chain.out / "twins" / "half-teacher"
    sizes = {name: getattr(network, name) for name in ("width", "heads", "feed_forward")}
    halves = {name: max(1, size // 2) for name, size in sizes.items() if size is not None}
    told = {"model": chain.recipe.model, "network": network.model_copy(update=halves)}
    chain.train(folder, chain.learnt.model_copy(update=told))
    student = Student(trained_before(folder, len(chain.classes))[0])
    return Made(folder.name, folder / MODEL_NAME, student, "twin")


def _taught(chain: Chain) -> tuple[dict[str, Any], int]:
    """Return how the chain's network was first trained, and the epochs that are no step's.

    Where no step makes a new one it is the teacher's.
    """
    for step in chain.recipe.steps:
        if isinstance(step, Distill):
            return _training(step), 0
    training = chain.learnt.training
    return {n: getattr(training, n) for n in OptimiserRecipe.model_fields}, training.epochs


def _of_equal_zip(chain: Chain, final: Made) -> Student:
    """Return an untrained network, dense and smaller, whose zip is about as large as a stage's."""
    wanted, stored = sizes(final.path).zipped_bytes, final.student.stored

    def made(share: float) -> tuple[int, Student]:
        network = untrained(_smaller(final.student.network.config, share))
        for vector in (p for p in network.parameters() if p.dim() == 1):
            torch.nn.init.normal_(vector, generator=noise)  # equal numbers would be packed
        rounded = Student(baked(constrained(Student(network, stored))), stored)
        return zipped_bytes(stored_onnx(rounded.network, chain.transfer.features, stored)), rounded

    noise = torch.Generator().manual_seed(0)
    low, high = 0.0, 1.0
    found = []
    for _ in range(_HALVINGS):
        size, student = made(share := (low + high) / 2)
        found.append((abs(size - wanted), share, student))
        low, high = (low, share) if size > wanted else (share, high)
    return Student(min(found, key=lambda one: one[:2])[2].network)


def _smaller(config: TinyConfig | T2Config, share: float) -> TinyConfig | T2Config:
    """Return sizes with a share of the width and of the feed-forward units."""

    def part(size: int) -> int:
        return max(1, round(share * size))

    if isinstance(config, T2Config):
        size = config.width // config.heads
        heads = part(config.heads)
        heads += heads * size % 2
        return replace(
            config, width=heads * size, heads=heads, feed_forward=part(config.feed_forward)
        )
    blocks = config.blocks
    return replace(
        config,
        width=part(config.width),
        heads=tuple(block.heads for block in blocks),
        head_size=blocks[0].head_size,
        feed_forward=tuple(part(block.feed_forward) for block in blocks),
    )


def variants(chain: Chain, made: list[Made]) -> list[Made]:
    """Return the result stored otherwise, as ``[report] variants`` lists."""
    wanted = chain.recipe.report.variants
    if unknown := set(wanted) - {*_SCHEMES, *_PEERS}:
        raise ConfigurationError(
            f"[report] variants: no {', '.join(unknown)}; there are {', '.join(_SCHEMES + _PEERS)}",
            wanted,
        )
    steps = chain.recipe.steps
    rounding = list(takewhile(lambda s: isinstance(s, Quantize | Cluster), reversed(steps)))
    # As before the last steps, if they round; else the result itself, only stored otherwise.
    exact = made[-1 - len(rounding)]
    told = _training(rounding[0]) if rounding else {"epochs": 0}
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
