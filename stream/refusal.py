"""Why one message cannot be decoded, on its way from where it is found to `stream.decode`."""

from __future__ import annotations

from reprlib import Repr
from typing import Final

from stream.alerts import RefusedReason

__all__ = ["Refusal", "shown"]

_REPR: Final = Repr()
_REPR.maxstring = _REPR.maxother = 80
_MAX_ERROR: Final = 600


class Refusal(Exception):
    """A message is refused: raised and caught inside `stream`, a value for everyone else."""

    def __init__(self, reason: RefusedReason, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        # Hostile names reach it: too long for a Kafka header, or not even encodable.
        plain = error.encode("utf-8", "replace").decode("utf-8")
        self.error = plain if len(plain) <= _MAX_ERROR else plain[: _MAX_ERROR - 3] + "..."


def shown(value: object) -> str:
    """Return a value as an error text shows it: quoted, and short whatever it is."""
    return _REPR.repr(value)
