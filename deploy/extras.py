"""Optional packages: asked for before the work begins, with the name of what to install."""

from __future__ import annotations

from importlib.util import find_spec

from models.errors import MissingExtraError

__all__ = ["require"]


def require(command: str, extra: str, *modules: str) -> None:
    """Raise `MissingExtraError` unless all modules of an extra are there; imports none of them."""
    for module in modules:
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:  # the package around it is missing
            found = False
        if not found:
            raise MissingExtraError(f"tinyt2 {command}", extra)
