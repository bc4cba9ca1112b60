"""The steps of a chain, by their ``kind``: each takes a student and returns a smaller one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.steps.cluster import Cluster
from compress.steps.distill import Distill
from compress.steps.prune_magnitude import PruneMagnitude
from compress.steps.prune_structured import PruneStructured
from compress.steps.quantize import Quantize
from compress.steps.step import Context, Step

__all__ = [
    "AnyStep",
    "Cluster",
    "Context",
    "Distill",
    "PruneMagnitude",
    "PruneStructured",
    "Quantize",
    "Step",
]

AnyStep = Annotated[
    Distill | PruneStructured | PruneMagnitude | Quantize | Cluster, Field(discriminator="kind")
]
"""One of them, told apart by ``kind``."""
