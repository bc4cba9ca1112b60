"""What a source of schemas provides, and how it says that it cannot answer."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["UNKNOWN_TTL_S", "SchemaSource", "SourceError"]

UNKNOWN_TTL_S: Final = 60.0
"""How long an id stays unknown, and a silent registry unasked, before the next look-up."""


class SourceError(Exception):
    """A source of schemas cannot answer; the text says why.

    ``wait_s`` is the time in seconds after which it is worth asking again.
    """

    def __init__(self, why: str, wait_s: float = UNKNOWN_TTL_S) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class SchemaSource(Protocol):
    """Something that knows schemas by their id."""

    def fetch(self, schema_id: int) -> str | None:
        """Return a schema as JSON, None when unknown; `SourceError` when there is no answer."""

    def describe(self) -> str:
        """Return what this source is and, where it can tell, which ids it knows."""
