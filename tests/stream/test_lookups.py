from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from stream.avro.lookups import SchemaLookups
from stream.avro.schemas import RegistryOptions, SchemaStore, open_schemas
from tests.registries import Registry, registry

TEXT = json.dumps({"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]})
POINT = {"type": "record", "name": "Point", "namespace": "a", "fields": []}


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as running:
        yield running


def store_of(server: Registry) -> SchemaStore:
    return open_schemas(RegistryOptions(server.url, retry_s=0.2))


def until(lookups: SchemaLookups, ids: set[int], waiting: set[int], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while (now := lookups.waiting(ids)) != waiting:
        assert time.monotonic() < deadline, now
        time.sleep(0.02)


def test_a_look_up_holds_nobody_up(server: Registry) -> None:
    server.schemas[7] = TEXT
    server.delay_s = 3
    lookups = SchemaLookups(store_of(server), 60)
    start = time.monotonic()
    assert lookups.waiting([7]) == {7}
    assert time.monotonic() - start < 2.5
    until(lookups, {7}, set())


def test_a_registry_that_is_well_is_waited_for(server: Registry) -> None:
    server.schemas[7] = TEXT
    lookups = SchemaLookups(store_of(server), 60)
    assert lookups.waiting([7, 8], patience_s=20) == set()
    assert sorted(server.asked) == ["/schemas/ids/7", "/schemas/ids/8"]


def test_ids_wait_while_the_registry_is_silent_and_go_on_when_it_answers(server: Registry) -> None:
    server.broken = True
    store = store_of(server)
    lookups = SchemaLookups(store, 600)
    assert lookups.waiting([7], patience_s=20) == {7}
    server.schemas[7] = TEXT
    server.broken = False
    until(lookups, {7}, set())
    assert store.get(7) is not None


def test_nothing_waits_longer_than_the_bound(server: Registry) -> None:
    server.broken = True
    store = store_of(server)
    lookups = SchemaLookups(store, 1.0)
    assert lookups.waiting([7], patience_s=20) == {7}
    until(lookups, {7, 8}, set())
    assert store.get(7) is None
    assert "schema id 7 cannot be looked up" in store.refusal(7).error


def test_other_sources_still_count(server: Registry) -> None:
    server.broken = True
    lookups = SchemaLookups(store_of(server), 600)
    assert lookups.waiting([1101, 5], patience_s=60) == {5}


def test_schemas_with_references_are_put_together(server: Registry) -> None:
    point = {**POINT, "fields": [{"name": "x", "type": "double"}, {"name": "u", "type": "a.Unit"}]}
    unit = {"type": "enum", "name": "Unit", "namespace": "a", "symbols": ["M"]}
    top = {
        "type": "record",
        "name": "Line",
        "namespace": "a",
        "fields": [{"name": n, "type": "a.Point"} for n in ("start", "end")],
    }
    server.schemas = {1: json.dumps(top), 2: json.dumps(point), 3: json.dumps(unit)}
    server.references = {
        1: [{"name": "a.Point", "subject": "point", "version": 4}],
        2: [{"name": "a.Unit", "subject": "unit", "version": 1}],
    }
    server.subjects = {("point", 4): 2, ("unit", 1): 3}
    schema = store_of(server).get(1)
    assert schema is not None
    assert schema.name == "a.Line"
    assert schema.fields("start") == schema.fields("end") == frozenset({"x", "u"})


def test_a_reference_that_is_missing_is_named(server: Registry) -> None:
    top = {"type": "record", "name": "L", "fields": [{"name": "p", "type": "a.Point"}]}
    server.schemas = {1: json.dumps(top), 2: json.dumps({**POINT, "name": "Other"})}
    server.references = {1: [{"name": "a.Other", "subject": "other", "version": 1}]}
    server.subjects = {("other", 1): 2}
    store = store_of(server)
    assert store.get(1) is None
    assert "a.Point" in store.refusal(1).error
