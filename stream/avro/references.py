"""Schemas of a registry that refer to others, put together into one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import load_schema

from stream.alerts import RefusedReason
from stream.refusal import Refusal, shown

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

__all__ = ["whole_schema"]

_MAX_REFERENCES: Final = 64
_TOP: Final = "tinyt2.top"


def whole_schema(client: SchemaRegistryClient, schema_id: int) -> str:
    """Return a schema as JSON, with the schemas that it refers to written into it.

    `Refusal` when they refer to too many; the client's errors otherwise.
    """
    schema = client.get_schema(schema_id)
    text: str = schema.schema_str or ""
    if not schema.references:
        return text
    parts = {_TOP: text}
    left = list(schema.references)
    while left:
        reference = left.pop()
        name, subject, number = reference.name, reference.subject, reference.version
        if name is None or subject is None or number is None:
            raise _unusable(schema_id, "a reference lacks its name, subject or version")
        if name in parts:
            continue
        if len(parts) > _MAX_REFERENCES:
            raise _unusable(schema_id, f"it refers to more than {_MAX_REFERENCES} others")
        version = client.get_version(subject, number)
        parts[name] = version.schema.schema_str or ""
        left += version.schema.references or []
    try:
        return json.dumps(load_schema(_TOP, repo=_Parts(parts)))
    except Exception as error:  # fastavro meets hostile JSON with any error there is
        raise _unusable(schema_id, f"{error} ({type(error).__name__})") from error


class _Parts(AbstractSchemaRepository):
    """The schemas by name, as fastavro asks for them."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def load(self, name: str) -> Any:
        """Return a schema."""
        if name not in self._texts:
            raise SchemaRepositoryError(f"no schema {name} was referred to")
        return json.loads(self._texts[name])


def _unusable(schema_id: int, why: str) -> Refusal:
    return Refusal(
        RefusedReason.INVALID_SCHEMA,
        f"schema {schema_id} and those that it refers to cannot be put together: {shown(why)}",
    )
