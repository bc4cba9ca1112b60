from __future__ import annotations

import json
import logging
import socket
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import structlog
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from lsst.alert.packet import get_schema_root

from models.errors import ConfigurationError
from stream.alerts import RefusedReason
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
    text = store.refusal(99999).error
    assert text.startswith("schema id 99999 is not known: registry mock://tinyt2 does not have it")
    assert "1000, 1100, 1101" in text
    assert text.endswith("set [schemas] registry_url or folder")


def test_registry_that_cannot_be_reached_is_said_so_and_left_alone(dead_url: str) -> None:
    clock = Clock()
    registry = RegistrySchemas(dead_url, clock=clock)
    store = SchemaStore([registry, PackageSchemas()], clock)
    assert store.get(1101) is not None, "the next source is still asked"
    assert store.get(5) is None
    assert "cannot be reached" in store.refusal(5).error
    assert "secret" not in store.refusal(5).error
    assert "127.0.0.1" in store.refusal(5).error


class Registry(HTTPServer):
    """A schema registry that knows schema 1, and answers 503 while it is broken."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.broken = False
        self.users: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.users.append(
            b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        )
        known = self.path.startswith("/schemas/ids/1?") or self.path == "/schemas/ids/1"
        self.send_response(503 if self.server.broken else 200 if known else 404)
        self.end_headers()
        body = {"schema": json.dumps(SCHEMA)} if known else {"error_code": 40403, "message": "no"}
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def http() -> Iterator[Registry]:
    with Registry() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_password_is_sent_and_in_no_log_and_no_error(
    http: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # The service silences it, and other tests may have configured logs as the service does.
    caplog.set_level(logging.DEBUG, logger="httpx")
    registry = RegistrySchemas(f"http://me:hunter%402@{http.place}")
    store = SchemaStore([registry])
    with structlog.testing.capture_logs() as logs:
        assert store.get(1) is not None
        http.broken = True
        assert store.get(2) is None
    assert http.users == ["me:hunter@2"] * 2
    assert f"http://{http.place}" in caplog.text, "the HTTP library logs every URL"
    texts = (caplog.text, str(logs), store.refusal(2).error, registry.describe())
    assert not any("hunter" in text for text in texts)


def test_registries_share_a_user(http: Registry, dead_url: str) -> None:
    """The first does not answer, the second does."""
    dead = dead_url.replace("user:secret", "me:hunter2")
    registry = RegistrySchemas(f"{dead}, http://me:hunter2@{http.place}")
    assert registry.fetch(1) == json.dumps(SCHEMA)
    assert http.users == ["me:hunter2"]
    assert "hunter2" not in registry.describe()


@pytest.mark.parametrize(
    "url",
    [
        "me:hunter2@host",
        "http://a,me:hunter2@host",
        "ftp://me:hunter2@host",
        "http://me:hunt,er2@host",
        "http://me:hunter2@a,http://me:hunter3@b",
    ],
)
def test_password_is_not_in_the_complaint_about_a_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="schema registry URL") as caught:
        RegistrySchemas(url)
    for text in (str(caught.value), str(caught.value.value), repr(caught.value.__cause__)):
        assert "hunt" not in text
        assert "er2" not in text.replace("user:password", "")


def test_a_silent_registry_does_not_make_ids_unknown(http: Registry) -> None:
    clock = Clock()
    store = SchemaStore([RegistrySchemas(f"http://{http.place}", clock=clock)], clock)
    http.broken = True
    assert store.get(2) is None
    clock.now += UNKNOWN_TTL_S - 1
    assert store.get(1) is None
    for schema_id in (1, 2):
        refusal = store.refusal(schema_id)
        assert refusal.reason is RefusedReason.SCHEMA_UNAVAILABLE
        assert f"schema id {schema_id} cannot be looked up: registry" in refusal.error
        assert "answered 503" in refusal.error
    http.broken = False
    clock.now += 1
    assert store.get(1) is not None, "looked up again as soon as the registry is asked again"
    assert store.get(2) is None
    assert store.refusal(2).reason is RefusedReason.UNKNOWN_SCHEMA_ID


def test_one_warning_per_silent_period(http: Registry) -> None:
    clock = Clock()
    store = SchemaStore([RegistrySchemas(f"http://{http.place}", clock=clock)], clock)
    http.broken = True
    with structlog.testing.capture_logs() as logs:
        for schema_id in range(5):
            store.get(schema_id)
        assert len(logs) == 1
        clock.now += UNKNOWN_TTL_S
        store.get(1)
    assert len(logs) == len(http.users) == 2
    assert logs[0]["log_level"] == "warning"
    assert logs[0]["source"] == f"registry http://{http.place}"
    assert "dead letters until it answers" in logs[0]["event"]


def test_registry_schema_that_is_unusable_is_unknown_with_its_reason(
    client: SchemaRegistryClient,
) -> None:
    schema_id = register(client, '{"type": "record"}')
    store = SchemaStore([RegistrySchemas("mock://tinyt2", client)])
    assert store.get(schema_id) is None
    assert "schema cannot be used" in store.refusal(schema_id).error


@pytest.mark.parametrize("url", ["", "localhost:8081", "ftp://host"])
def test_registry_url_is_checked(url: str) -> None:
    with pytest.raises(ConfigurationError, match="registry"):
        RegistrySchemas(url)


def test_open_schemas_with_a_registry_of_its_own() -> None:
    store = open_schemas("mock://tinyt2-empty")
    assert store.get(1101) is not None
    assert store.get(1) is None
    assert "registry mock://tinyt2-empty" in store.refusal(1).error


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
    assert "12.avsc cannot be used" in store.refusal(12).error
    assert "(ids 12, 4711)" in store.refusal(12).error


def test_a_folder_is_listed_once_a_while(tmp_path: Path) -> None:
    now = 0.0
    folder = FolderSchemas(tmp_path, clock=lambda: now)
    assert folder.fetch(4711) is None
    (tmp_path / "4711.avsc").write_text(json.dumps(SCHEMA))
    assert folder.fetch(4711) is None
    now = UNKNOWN_TTL_S
    assert folder.fetch(4711) is not None


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
    assert len(store._missing) < 2000
    assert store.unknown == store.misses == 3000
