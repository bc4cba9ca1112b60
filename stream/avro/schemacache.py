"""A folder that keeps what a schema registry answered, for when it does not.

Ids of a registry never change their meaning, so that what is kept is used first. A file
is written aside and then renamed, and carries the digest of its schema: one that was cut
or changed is fetched again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from stream.avro.sources import SchemaSource
from stream.avro.writer import MAX_SCHEMA_BYTES

__all__ = ["CachedSchemas"]

log = structlog.get_logger()

_MAX_FILES: Final = 4096
"""A registry that answers every id must not fill the disk."""


class CachedSchemas:
    """The schemas of a source, kept below ``folder`` by the ``name`` of the source."""

    def __init__(self, source: SchemaSource, folder: Path, name: str) -> None:
        self._source = source
        # Two registries may give the same id to two schemas.
        self._folder = folder.expanduser() / sha256(name.encode()).hexdigest()[:16]

    def fetch(self, schema_id: int) -> str | None:
        """Return a schema as JSON, from the folder or the source; `SourceError` as the source's."""
        kept = self._read(schema_id)
        if kept is not None:
            return kept
        text = self._source.fetch(schema_id)
        if text is not None:
            self._write(schema_id, text)
        return text

    def describe(self) -> str:
        """Return what the source is."""
        return self._source.describe()

    def _read(self, schema_id: int) -> str | None:
        path = self._path(schema_id)
        try:
            with path.open("rb") as file:
                content = file.read(4 * MAX_SCHEMA_BYTES)
        except OSError:
            return None
        try:
            entry = json.loads(content)
            text = str(entry["schema"])
            if entry["sha256"] == _digest(schema_id, text):
                return text
        except (ValueError, TypeError, KeyError):
            pass
        log.warning("kept schema is damaged: fetched again", path=str(path))
        return None

    def _write(self, schema_id: int, text: str) -> None:
        entry = {"id": schema_id, "sha256": _digest(schema_id, text), "schema": text}
        path = self._path(schema_id)
        aside = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if len(os.listdir(self._folder)) >= _MAX_FILES:  # noqa: PTH208
                return
            with aside.open("w", encoding="utf-8") as file:
                json.dump(entry, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            log.warning("schema cannot be kept", folder=str(self._folder), why=error.strerror)

    def _path(self, schema_id: int) -> Path:
        return self._folder / f"{schema_id}.json"


def _digest(schema_id: int, text: str) -> str:
    return sha256(f"{schema_id} {text}".encode()).hexdigest()
