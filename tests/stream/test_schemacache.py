from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from stream.avro.schemacache import CachedSchemas
from stream.avro.schemas import RegistryOptions, open_schemas
from stream.avro.sources import SourceError
from tests.registries import registry

TEXT = json.dumps({"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]})


class Source:
    """A source that can be silent."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.silent = False

    def fetch(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        if self.silent:
            raise SourceError("silent")
        return TEXT if schema_id == 1 else None

    def describe(self) -> str:
        return "source"


def test_what_was_answered_is_kept_for_when_there_is_no_answer(tmp_path: Path) -> None:
    source = Source()
    assert CachedSchemas(source, tmp_path, "a").fetch(1) == TEXT
    source.silent = True
    assert CachedSchemas(source, tmp_path, "a").fetch(1) == TEXT
    assert source.asked == [1]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_registries_do_not_share_what_is_kept(tmp_path: Path) -> None:
    source = Source()
    CachedSchemas(source, tmp_path, "a").fetch(1)
    source.silent = True
    with pytest.raises(SourceError):
        CachedSchemas(source, tmp_path, "b").fetch(1)


def test_unknown_ids_are_not_kept(tmp_path: Path) -> None:
    source = Source()
    cached = CachedSchemas(source, tmp_path, "a")
    assert cached.fetch(2) is None
    assert cached.fetch(2) is None
    assert source.asked == [2, 2]


@pytest.mark.parametrize("damage", ["cut", "changed", "other id", "rubbish", "empty", "list"])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, damage: str) -> None:
    source = Source()
    cached = CachedSchemas(source, tmp_path, "a")
    cached.fetch(1)
    (path,) = tmp_path.rglob("*.json")
    text = path.read_text()
    entry = json.loads(text)
    other = {"cut": text[:-20], "rubbish": "\x00", "empty": "", "list": "[]"}
    other["changed"] = text.replace("long", "int")
    other["other id"] = json.dumps({**entry, "sha256": "0" * 64})
    path.write_text(other[damage])
    with structlog.testing.capture_logs() as logs:
        assert cached.fetch(1) == TEXT
    assert [entry["event"] for entry in logs] == ["kept schema is damaged: fetched again"]
    assert source.asked == [1, 1]
    assert path.read_text() == text, "repaired"


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with structlog.testing.capture_logs() as logs:
        assert CachedSchemas(Source(), tmp_path / "file", "a").fetch(1) == TEXT
    assert logs[0]["event"] == "schema cannot be kept"


def test_a_registry_that_went_away(tmp_path: Path) -> None:
    with registry() as server:
        server.schemas[7] = TEXT
        options = RegistryOptions(server.url, cache=tmp_path)
        assert open_schemas(options).get(7) is not None
        server.broken = True
        assert open_schemas(options).get(7) is not None
    assert open_schemas(options).get(7) is not None
    assert len(server.asked) == 1
