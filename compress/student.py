"""The network on its way down the chain, and what it must keep: stored precisions and zeros."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compress.rounding import Masked, Scheme, rounding
from models.errors import ConfigurationError
from models.export import replace
from models.t2 import T2, T2Config
from models.tiny import Tiny, TinyConfig

__all__ = [
    "STATE_NAME",
    "Student",
    "baked",
    "constrained",
    "load_student",
    "matrices",
    "schemes",
    "shapes",
    "untrained",
]

STATE_NAME: Final = "state.pt"


@dataclass(frozen=True, slots=True)
class Student:
    """A network, how its tensors are stored, and where they are zero for good."""

    network: Tiny | T2
    stored: Mapping[str, Scheme] = field(default_factory=dict)
    """Parameter -> how it is stored; float32 unless named. Its values are rounded to that."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameter -> False where it is pruned."""

    @property
    def precision(self) -> str:
        """Say how the matrices are stored: the manifest's ``precision``."""
        matrices = [n for n, p in self.network.named_parameters() if p.dim() > 1]
        return " and ".join(sorted({self.stored.get(n, "float32") for n in matrices}))

    @property
    def fingerprint(self) -> str:
        """Return a hash of all weights and of how they are held."""
        found = hashlib.sha256(repr((self.network.config, sorted(self.stored.items()))).encode())
        for name, tensor in [*self.network.state_dict().items(), *sorted(self.masks.items())]:
            found.update(name.encode() + tensor.numpy().tobytes())
        return found.hexdigest()

    def save(self, folder: Path, key: str) -> None:
        """Write ``state.pt``, atomically; ``key`` names what it was made from."""
        state = {
            "key": key,
            "network": type(self.network).__name__,
            "config": asdict(self.network.config),
            "weights": self.network.state_dict(),
            "stored": dict(self.stored),
            "masks": dict(self.masks),
        }
        content = io.BytesIO()
        torch.save(state, content)
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / STATE_NAME, content.getvalue())


def load_student(folder: Path, key: str) -> Student | None:
    """Read what `Student.save` wrote; None when that is not there or has another key."""
    if not (folder / STATE_NAME).exists():
        return None
    state: dict[str, Any] = torch.load(folder / STATE_NAME, weights_only=True)
    if state["key"] != key:
        return None
    kind = T2Config if state["network"] == "T2" else TinyConfig
    network = untrained(kind(**state["config"]))
    network.load_state_dict(state["weights"])
    return Student(network.eval(), state["stored"], state["masks"])


def constrained(student: Student) -> Tiny | T2:
    """Return a copy of the network that is held to its precisions and zeros while it trains."""
    network = copy.deepcopy(student.network)
    for name, weight in student.network.named_parameters():
        mask = student.masks.get(name)
        held = rounding(student.stored.get(name, "float32"), weight, mask is not None)
        owner, _, key = name.rpartition(".")
        module = network.get_submodule(owner)
        for constraint in (held, None if mask is None else Masked(mask)):
            if constraint is not None:
                parametrize.register_parametrization(module, key, constraint)
    return network


def baked(network: Tiny | T2) -> Tiny | T2:
    """Return a plain network with the weights that a constrained one answers with."""
    held = copy.deepcopy(network)
    for module in list(held.modules()):
        for key in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, key)
    # A new one, because removing constraints has changed the order of the parameters.
    plain = untrained(network.config)
    plain.load_state_dict(held.state_dict())
    return plain.eval()


def untrained(config: TinyConfig | T2Config, seed: int = 0) -> Tiny | T2:
    """Return a new network of these sizes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return T2(config) if isinstance(config, T2Config) else Tiny(config)


def schemes(
    network: nn.Module, default: Scheme, small: Scheme, by_name: Mapping[str, Scheme]
) -> dict[str, Scheme]:
    """Return how each parameter is to be stored.

    Matrices as ``default``, vectors as ``small``, and as ``by_name`` says what its patterns
    match (``head.weight``, ``*.feed_forward.*``), the last one that does.
    `ConfigurationError` for a pattern that matches none.
    """
    parameters = dict(network.named_parameters())
    chosen = {name: default if p.dim() > 1 else small for name, p in parameters.items()}
    # Calibration moves these afterwards (`models.networks.shift_prior`).
    chosen["head.bias"] = "float32"
    for pattern, scheme in by_name.items():
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            raise ConfigurationError(
                f"no parameter is called {pattern}; there are {', '.join(parameters)}", pattern
            )
        chosen |= dict.fromkeys(found, scheme)
    return {name: scheme for name, scheme in chosen.items() if scheme != "float32"}


def shapes(network: Tiny | T2) -> dict[str, Any]:
    """Return the sizes that pruning changes: for the manifest of what is made from a network."""
    config = network.config
    if isinstance(config, T2Config):
        return {"width": config.width, "heads": [config.heads], "units": [config.feed_forward]}
    return {
        "width": config.width,
        "latents": config.latents,
        "blocks": len(config.blocks),
        "heads": [block.heads for block in config.blocks],
        "head_size": config.blocks[0].head_size,
        "feed_forward": [block.feed_forward for block in config.blocks],
    }


def matrices(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters that are matrices, with their names."""
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            yield name, parameter
