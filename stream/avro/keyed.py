"""Messages whose key is their schema, in JSON: how the Fink broker sends to ``fink_*`` topics.

The value is one record without any framing, as Spark's ``to_avro`` writes it
(https://github.com/astrolabsoftware/fink-client, ``consumer.py``).
"""

from __future__ import annotations

from collections import OrderedDict

from stream.avro.framing import Block
from stream.avro.writer import WriterSchema

__all__ = ["KeySchemas", "is_schema", "read_block"]


def is_schema(key: bytes | None) -> bool:
    """Tell a schema from the keys of others, which may be JSON too."""
    return key is not None and key.lstrip()[:1] == b"{" and b'"fields"' in key


def read_block(value: bytes) -> Block:
    """Return where the record of a message stands."""
    return Block(value, 0, len(value), 1, "the message")


class KeySchemas:
    """Parse each distinct key once, and forget those that are long out of use."""

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._schemas: OrderedDict[bytes, WriterSchema] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: bytes) -> WriterSchema:
        """Return the schema that a key is; `Refusal` when it cannot be used."""
        if key in self._schemas:
            self._schemas.move_to_end(key)
            self.hits += 1
            return self._schemas[key]
        self.misses += 1
        schema = WriterSchema.parse(key)
        self._schemas[key] = schema
        if len(self._schemas) > self._capacity:
            self._schemas.popitem(last=False)
        return schema
