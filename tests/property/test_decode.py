"""Whatever happens to the bytes of real packets, every message has exactly one outcome."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts import AlertBatch
from stream.avro.container import HeaderCache
from stream.avro.schemas import open_schemas
from stream.decode import Decoder
from stream.refusal import Refusal
from stream.sources.memory import message_batch
from tests.records import container_records

ALERTS = Path(__file__).parents[1] / "data" / "alerts"
PACKETS = {
    pattern: next(ALERTS.rglob(pattern)).read_bytes()
    for pattern in (
        "ztf/1.8/*",
        "ztf/3.3/*",
        "ztf/4.02/*",
        "lsst/9.0/container/39*",
        "lsst/10.0/container/*",
        "odd/pgir/*",
        "lsst/7.1/confluent/2*",
        "lsst/9.0/confluent/7*",
        "lsst/11.1/confluent/*",
        "odd/winter/*",
    )
}
DECODER = Decoder(open_schemas())

# Names are drawn, not bytes: hypothesis prints what it draws.
names = st.sampled_from(list(PACKETS))
places = st.floats(0, 1, exclude_max=True)
"""Of a packet, as a fraction of its length."""


def assert_one_outcome_each(batch: AlertBatch, n_messages: int) -> None:
    decoded, refused = set(batch.message.tolist()), batch.refused.message
    assert decoded.isdisjoint(refused)
    assert sorted([*decoded, *refused]) == list(range(n_messages))
    assert len(batch) == len(batch.curves) == len(batch.object_id) == len(batch.survey)
    assert all(batch.refused.error)
    curves = batch.curves
    assert np.isfinite(curves.flux).all()
    assert (curves.flux_err > 0).all()
    assert (curves.mjd <= np.repeat(batch.trigger_mjd, curves.n_observations)).all()


def decode(*values: bytes) -> AlertBatch:
    batch = DECODER.decode(message_batch(list(values)))
    assert_one_outcome_each(batch, len(values))
    return batch


@settings(deadline=None)
@given(names, places)
def test_truncated(name: str, place: float) -> None:
    packet = PACKETS[name]
    batch = decode(packet[: int(place * len(packet))], packet)
    assert 0 in batch.refused.message


@settings(deadline=None)
@given(names, st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=8))
def test_bits_flipped(name: str, flips: list[tuple[float, int]]) -> None:
    packet = PACKETS[name]
    damaged = bytearray(packet)
    for place, bit in flips:
        damaged[int(place * len(packet))] ^= 1 << bit
    decode(bytes(damaged), packet)


@settings(deadline=None)
@given(names, st.integers(0, 40_000), st.binary(min_size=1, max_size=12))
def test_bytes_overwritten_near_the_front(name: str, at: int, data: bytes) -> None:
    packet = PACKETS[name]
    at %= len(packet)
    decode(packet[:at] + data + packet[at + len(data) :])


@settings(deadline=None)
@given(names, places, names, places)
def test_spliced(first: str, cut: float, second: str, start: float) -> None:
    a, b = PACKETS[first], PACKETS[second]
    decode(a[: int(cut * len(a))] + b[int(start * len(b)) :])


@settings(deadline=None)
@given(names, places, st.binary(min_size=1, max_size=3))
def test_bytes_inserted(name: str, place: float, data: bytes) -> None:
    packet = PACKETS[name]
    at = int(place * len(packet))
    decode(packet[:at] + data + packet[at:])


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"Obj\x01", b"\0\0\0\x04\x4d", b"\0"]))
def test_anything(data: bytes, start: bytes) -> None:
    assert len(decode(start + data)) == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@st.composite
def damaged_schemas(draw: st.DrawFn) -> bytes:
    """Draw the schema of a real alert with one of its parts replaced by anything."""
    container = PACKETS[draw(st.sampled_from(list(PACKETS)[:6]))]
    node: Any = json.loads(fastavro.reader(io.BytesIO(container)).metadata["avro.schema"])
    schema = node
    words = st.sampled_from(["null", "long", "bytes", "array", "record", schema["name"]])
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not node[key] or not isinstance(node[key], dict | list) or not draw(st.integers(0, 3)):
            node[key] = draw(words | json_values)
            return json.dumps(schema).encode()
        node = node[key]


@settings(deadline=None)
@given(damaged_schemas(), st.binary(max_size=64), st.integers(1, 3))
def test_damaged_schema(schema: bytes, body: bytes, count: int) -> None:
    out = io.BytesIO()
    for number in (count, len(body)):
        fastavro.schemaless_writer(out, "long", number)
    text = io.BytesIO()
    fastavro.schemaless_writer(text, "bytes", schema)
    head = b"Obj\x01\x02\x16avro.schema" + text.getvalue() + b"\0" + b"s" * 16
    decode(head + out.getvalue() + body + b"s" * 16)


SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "x", "type": ["null", "double"]},
        {"name": "s", "type": {"type": "array", "items": "string"}},
        {"name": "b", "type": "bytes"},
    ],
}
rows = st.fixed_dictionaries(
    {
        "n": st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False),
        "s": st.lists(st.text(max_size=5), max_size=3),
        "b": st.binary(max_size=40),
    }
)


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
@settings(deadline=None)
@given(records=st.lists(rows, max_size=20), sync_interval=st.integers(1, 400))
def test_container_round_trip(
    codec: str, records: list[dict[str, Any]], sync_interval: int
) -> None:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, records, codec=codec, sync_interval=sync_interval)
    value = out.getvalue()
    assert container_records(value, HeaderCache().find(value)) == records


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), places, st.integers(1, 255))
def test_damaged_container_never_gives_more_than_it_has(
    records: list[dict[str, Any]], place: float, change: int
) -> None:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, records, codec="snappy")
    value = out.getvalue()
    header = HeaderCache().find(value)
    at = header.length + int(place * (len(value) - header.length))
    damaged = value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]
    with pytest.raises(Refusal):
        # The checksum covers the data and the sync marker the framing: nothing slips through.
        container_records(damaged, header)
