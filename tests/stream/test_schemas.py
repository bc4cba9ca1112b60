from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from lsst.alert.packet import get_schema_root

from models.errors import ConfigurationError
from stream.avro.schemas import (
    UNKNOWN_TTL_S,
    FolderSchemas,
    PackageSchemas,
    RegistrySchemas,
    SchemaStore,
    open_schemas,
)

SCHEMA = {"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def register(client: SchemaRegistryClient, schema: object = SCHEMA) -> int:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return int(client.register_schema("alerts-value", Schema(text, "AVRO")))


@pytest.fixture
def client() -> SchemaRegistryClient:
    return SchemaRegistryClient.new_client({"url": "mock://tinyt2"})


@pytest.fixture
def dead_url() -> str:
    """Return the URL of a port where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://user:secret@127.0.0.1:{free.getsockname()[1]}"


def test_registry_schema_is_fetched_once(client: SchemaRegistryClient) -> None:
    store = SchemaStore([RegistrySchemas("mock://tinyt2", client)])
    schema_id = register(client)
    schema = store.get(schema_id)
    assert schema is not None
    assert schema.name == "Row"
    assert store.get(schema_id) is schema
    assert (store.hits, store.misses, store.unknown) == (1, 1, 0)


def test_registry_may_learn_an_id_later(client: SchemaRegistryClient) -> None:
    clock = Clock()
    store = SchemaStore([RegistrySchemas("mock://tinyt2", client)], clock)
    assert store.get(1) is None
    assert register(client) == 1
    clock.now += UNKNOWN_TTL_S - 1
    assert store.get(1) is None
    assert (store.misses, store.unknown) == (1, 2)
    clock.now += 2
    assert store.get(1) is not None
    assert (store.misses, store.unknown) == (2, 2)


def test_error_text_tells_what_was_asked_and_what_to_do(client: SchemaRegistryClient) -> None:
    store = SchemaStore([RegistrySchemas("mock://tinyt2", client), PackageSchemas()])
    assert store.get(99999) is None
    text = store.explain(99999)
    assert text.startswith("schema id 99999 is not known: registry mock://tinyt2 does not have it")
    assert "1000, 1100, 1101" in text
    assert text.endswith("set [schemas] registry_url or folder")


def test_registry_that_cannot_be_reached_is_said_so_and_left_alone(dead_url: str) -> None:
    clock = Clock()
    registry = RegistrySchemas(dead_url, clock=clock)
    store = SchemaStore([registry, PackageSchemas()], clock)
    assert store.get(1101) is not None, "the next source is still asked"
    assert store.get(5) is None
    assert "cannot be reached" in store.explain(5)
    assert "secret" not in store.explain(5)
    assert "127.0.0.1" in store.explain(5)


def test_registry_schema_that_is_unusable_is_unknown_with_its_reason(
    client: SchemaRegistryClient,
) -> None:
    schema_id = register(client, '{"type": "record"}')
    store = SchemaStore([RegistrySchemas("mock://tinyt2", client)])
    assert store.get(schema_id) is None
    assert "schema cannot be used" in store.explain(schema_id)


@pytest.mark.parametrize("url", ["", "localhost:8081", "ftp://host"])
def test_registry_url_is_checked(url: str) -> None:
    with pytest.raises(ConfigurationError, match="registry"):
        RegistrySchemas(url)


def test_open_schemas_with_a_registry_of_its_own() -> None:
    store = open_schemas("mock://tinyt2-empty")
    assert store.get(1101) is not None
    assert store.get(1) is None
    assert "registry mock://tinyt2-empty" in store.explain(1)


def test_split_files_of_rubin_in_a_folder() -> None:
    folder = FolderSchemas(Path(get_schema_root()))
    package = PackageSchemas()
    for schema_id in (700, 704, 800, 900, 1000, 1101):
        text = folder.fetch(schema_id)
        assert text is not None
        assert json.loads(text)["fields"] == json.loads(package.fetch(schema_id) or "")["fields"]
    assert folder.fetch(702_000) is None
    assert "1100, 1101" in folder.describe()


def test_single_files_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "4711.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / "12.avsc").write_text("{")
    (tmp_path / "notes.avsc").write_text("not asked for")
    store = open_schemas(folder=tmp_path)
    schema = store.get(4711)
    assert schema is not None
    assert schema.name == "Row"
    assert store.get(12) is None
    assert "12.avsc cannot be used" in store.explain(12)
    assert "(ids 12, 4711)" in store.explain(12)


def test_folder_comes_before_the_package(tmp_path: Path) -> None:
    (tmp_path / "1101.avsc").write_text(json.dumps(SCHEMA))
    schema = open_schemas(folder=tmp_path).get(1101)
    assert schema is not None
    assert schema.name == "Row"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_schemas(folder=tmp_path / "absent")


def test_store_remembers_a_bounded_number_of_unknown_ids() -> None:
    store = SchemaStore()
    for schema_id in range(3000):
        assert store.get(schema_id) is None
    assert len(store._unknown) < 2000
    assert store.unknown == store.misses == 3000
