"""Schemas that change as surveys change them: nothing matters but the fields that are used."""

from __future__ import annotations

import copy
import io
import json
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.alerts import AlertBatch, RefusedReason
from stream.avro.schemas import PackageSchemas, SchemaStore
from stream.decode import Decoder
from stream.sources.memory import message_batch

ALERTS = Path(__file__).parents[1] / "data" / "alerts"
ZTF = sorted(next(iter(sorted(folder.glob("*.avro")))) for folder in (ALERTS / "ztf").iterdir())
LSST = sorted((ALERTS / "made_up" / "lsst").rglob("*.avro")) + sorted(
    (ALERTS / "lsst").rglob("*.avro")
)
CASES = [str(path.relative_to(ALERTS)) for path in (*ZTF, *LSST)]
PROMOTIONS = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"]}
INTEGERS = {"candid", "fid", "alertId", "diaSourceId", "diaObjectId", "ssObjectId"}
USED = {
    *("objectId", "candid", "candidate", "prv_candidates", "fp_hists"),
    *("jd", "fid", "magpsf", "sigmapsf", "isdiffpos", "diffmaglim", "ssdistnr"),
    *("forcediffimflux", "forcediffimfluxunc", "magzpsci"),
    *("alertId", "diaSourceId", "diaSource", "prvDiaSources", "prvDiaForcedSources"),
    *("diaObject", "ssSource", "ssObject", "diaObjectId", "ssObjectId"),
    *("midpointMjdTai", "band", "psfFlux", "psfFluxErr", "timeWithdrawnMjdTai"),
}
PACKAGE = PackageSchemas()


@cache
def _text(name: str) -> str:
    """Return the writer schema of a packet as JSON, with the full names of its types."""
    value = (ALERTS / name).read_bytes()
    if value.startswith(b"Obj\x01"):
        text = fastavro.reader(io.BytesIO(value)).metadata["avro.schema"]
    else:
        text = PACKAGE.fetch(int.from_bytes(value[1:5], "big")) or ""
    parsed = fastavro.parse_schema(json.loads(text))
    assert isinstance(parsed, dict)
    return json.dumps({key: x for key, x in parsed.items() if not key.startswith("__")})


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(_text(name))
    return schema


@cache
def record_of(name: str) -> Any:
    """Return the first record of a packet."""
    value = (ALERTS / name).read_bytes()
    if value.startswith(b"Obj\x01"):
        return next(iter(fastavro.reader(io.BytesIO(value))))
    schema = fastavro.parse_schema(schema_of(name))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the definitions of all records in a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from records_in(field["type"])
        else:
            yield from records_in(schema.get("items", schema.get("type")))


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """Draw a later version of a schema: fields added, removed, in another order, promoted."""
    later = copy.deepcopy(schema)
    records = list(records_in(later))
    for n, record in enumerate(records):
        fields = [
            field for field in record["fields"] if field["name"] in USED or draw(st.integers(0, 3))
        ]
        # A record of no fields takes no bytes: such schemas are refused.
        fields = fields or record["fields"][:1]
        for field in fields:
            field["type"] = _promoted(draw, field["type"], field["name"])
        for k in range(draw(st.integers(0, 2))):
            fields.append({"name": f"new_{n}_{k}", "type": draw(_new_types(n, k))})
        record["fields"] = draw(st.permutations(fields)) if draw(st.booleans()) else fields
    return rehomed(later, {record["name"]: record for record in records}, set())


def rehomed(avro: Any, definitions: dict[str, Any], seen: set[str]) -> Any:
    """Define each type where it stands first: that may have been elsewhere before."""
    if isinstance(avro, list):
        return [rehomed(branch, definitions, seen) for branch in avro]
    if isinstance(avro, str):
        known = avro in definitions and avro not in seen
        return rehomed(definitions[avro], definitions, seen) if known else avro
    if avro["type"] == "record":
        if avro["name"] in seen:
            return avro["name"]
        seen.add(avro["name"])
        fields = [{**f, "type": rehomed(f["type"], definitions, seen)} for f in avro["fields"]]
        return {**avro, "fields": fields}
    if avro["type"] == "array":
        return {**avro, "items": rehomed(avro["items"], definitions, seen)}
    return avro


def _promoted(draw: st.DrawFn, avro: Any, name: str) -> Any:
    if isinstance(avro, list):
        return [_promoted(draw, branch, name) for branch in avro]
    if isinstance(avro, str) and avro in PROMOTIONS and draw(st.booleans()):
        wider = PROMOTIONS[avro]
        return draw(st.sampled_from(["long"] if name in INTEGERS else wider))
    return avro


def _new_types(n: int, k: int) -> st.SearchStrategy[Any]:
    inner = {"type": "record", "name": f"New{n}_{k}", "fields": [{"name": "a", "type": "string"}]}
    return st.sampled_from(
        ["long", "string", ["null", "bytes"], {"type": "array", "items": "double"}, inner]
    )


def filled(record: Any, avro: Any, named: dict[str, Any]) -> Any:
    """Return a value of a type: the fields that are there, and something for new ones."""
    if isinstance(avro, list):
        if record is None and "null" in avro:
            return None
        return filled(record, next(b for b in avro if b != "null"), named)
    if isinstance(avro, str) and avro in named:
        avro = named[avro]
    if isinstance(avro, dict) and avro["type"] == "record":
        there = record or {}
        return {f["name"]: filled(there.get(f["name"]), f["type"], named) for f in avro["fields"]}
    if isinstance(avro, dict) and avro["type"] == "array":
        return [filled(item, avro["items"], named) for item in record or []]
    if record is not None:
        return record
    kind = avro["type"] if isinstance(avro, dict) else avro
    return {"string": "x", "bytes": b"x", "boolean": True}.get(kind, 7)


def written(name: str, schema: dict[str, Any], framing: str) -> AlertBatch:
    """Return what is decoded of a packet's record, written with another schema."""
    named = {record["name"]: record for record in records_in(schema)}
    return decoded(schema, filled(record_of(name), schema, named), framing)


class Growing:
    """A source of schemas that get the next id each."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str) -> int:
        self._texts.append(text)
        return len(self._texts) - 1

    def fetch(self, schema_id: int) -> str | None:
        return self._texts[schema_id]

    def describe(self) -> str:
        return "growing"


SCHEMAS = Growing()
DECODER = Decoder(SchemaStore([SCHEMAS]))


def decoded(schema: Any, record: Any, framing: str) -> AlertBatch:
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    out = io.BytesIO()
    if framing == "container":
        fastavro.writer(out, parsed, [record])
    else:
        out.write(b"\0" + struct.pack(">I", SCHEMAS.add(json.dumps(schema))))
        fastavro.schemaless_writer(out, parsed, record)
    return DECODER.decode(message_batch([out.getvalue()]))


def assert_same(got: AlertBatch, expected: AlertBatch) -> None:
    assert not got.refused.error
    for name in ("alert_id", "source_id", "trigger_mjd", "observation_ms", "solar_system"):
        assert np.array_equal(getattr(got, name), getattr(expected, name)), name
    assert got.object_id.to_pylist() == expected.object_id.to_pylist()
    assert got.survey.to_pylist() == expected.survey.to_pylist()
    for name in ("splits", "mjd", "band", "flux", "flux_err", "detected"):
        assert np.array_equal(getattr(got.curves, name), getattr(expected.curves, name)), name


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_later_versions_give_the_same_columns(name: str, data: st.DataObject) -> None:
    expected = written(name, schema_of(name), "container")
    assert len(expected) == 1
    later = data.draw(changed(schema_of(name)))
    assert_same(written(name, later, data.draw(st.sampled_from(["container", "ids"]))), expected)


@pytest.mark.parametrize(
    ("name", "path", "field"),
    [
        (CASES[0], "", "candid"),
        (CASES[0], "candidate", "magpsf"),
        (CASES[-1], "diaSource", "psfFlux"),
        (CASES[-1], "diaSource", "midpointMjdTai"),
    ],
)
def test_a_missing_field_is_named(name: str, path: str, field: str) -> None:
    schema = schema_of(name)
    kinds = [f["type"] for f in schema["fields"] if f["name"] == path] if path else [schema]
    inner = next(record for kind in kinds for record in records_in(kind))
    inner["fields"] = [f for f in inner["fields"] if f["name"] != field]
    batch = written(name, schema, "container")
    if field == "magpsf":
        # Without its magnitude the record of ZTF is not known as that of an alert any more.
        assert batch.refused.reason == [RefusedReason.UNSUPPORTED_SURVEY]
        return
    assert batch.refused.reason == [RefusedReason.INVALID_FIELD]
    assert "lacks " in batch.refused.error[0]
    assert (f"{path}.{field}" if path else field) in batch.refused.error[0]
