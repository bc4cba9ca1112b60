"""Whatever is in the fields, columns and packets give the same alerts and refusals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.decode import Decoder
from stream.nested import NestedDecoder
from stream.sources.archive import ArchiveSource
from stream.sources.memory import message_batch
from stream.sources.parts import plan
from tests.archives import write_tarball
from tests.nested import record_schema
from tests.stream.test_nested import same

DECODER, NESTED = Decoder(), NestedDecoder()


def _record(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind} for field, kind in fields.items()],
    }


def _maybe(kind: Any) -> list[Any]:
    return ["null", kind]


EXPOSURE = {"jd": _maybe("double"), "fid": _maybe("int")}
PHOTOMETRY = {
    **EXPOSURE,
    "magpsf": _maybe("float"),
    "sigmapsf": _maybe("float"),
    "isdiffpos": _maybe("string"),
}
SCHEMA = _record(
    "alert",
    objectId="string",
    candid="long",
    candidate=_record("candidate", **PHOTOMETRY, ssdistnr=_maybe("float")),
    prv_candidates=_maybe(
        {"type": "array", "items": _record("previous", **PHOTOMETRY, diffmaglim=_maybe("float"))}
    ),
)

magnitudes = st.one_of(
    st.none(),
    st.floats(width=32),
    st.sampled_from([-999.0, 17.5, 20.25, 0.0]),
    st.floats(15, 22, width=32),
)
photometry = {
    "jd": st.one_of(st.none(), st.floats(2459000, 2459010), st.floats()),
    "fid": st.one_of(st.none(), st.integers(0, 4)),
    "magpsf": magnitudes,
    "sigmapsf": st.one_of(st.none(), st.floats(0, 1, width=32), st.just(-999.0)),
    "isdiffpos": st.one_of(st.none(), st.sampled_from(["t", "f", "1", "0", "", "é", "toolonger"])),
}
good = st.fixed_dictionaries(
    {
        "jd": st.floats(2459000, 2459010),
        "fid": st.integers(1, 3),
        "magpsf": st.floats(15, 22, width=32),
        "sigmapsf": st.floats(0.015625, 1, width=32),
        "isdiffpos": st.sampled_from(["t", "f", "1", "0"]),
        "ssdistnr": magnitudes,
    }
)
previous = st.fixed_dictionaries({**photometry, "diffmaglim": magnitudes})
alerts = st.fixed_dictionaries(
    {
        "objectId": st.text(max_size=300),
        "candid": st.integers(-(2**63), 2**63 - 1),
        "candidate": st.one_of(good, st.fixed_dictionaries({**photometry, "ssdistnr": magnitudes})),
        "prv_candidates": st.one_of(st.none(), st.lists(previous, max_size=6)),
    }
)


def _packet(record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, SCHEMA, [record])
    return buffer.getvalue()


@settings(deadline=None)
@given(st.lists(alerts, max_size=5))
def test_columns_and_packets_say_the_same(records: list[dict[str, Any]]) -> None:
    packets = DECODER.decode(message_batch([_packet(record) for record in records]))
    nested = NESTED.decode(pa.RecordBatch.from_pylist(records, record_schema(SCHEMA)))
    assert same(nested, packets)
    for name in ("message", "reason", "error"):
        assert getattr(nested.refused, name) == getattr(packets.refused, name)


@settings(deadline=None, max_examples=50)
@given(start=st.integers(0, 30), size=st.integers(1, 40))
def test_an_archive_goes_on_anywhere(tmp_path_factory: Any, start: int, size: int) -> None:
    values = [b"alert %d" % i for i in range(25)]
    folder: Path = tmp_path_factory.mktemp("archive")
    source = ArchiveSource.over(plan([write_tarball(folder / "n.tar", values)]), start)
    got: list[bytes] = []
    while (batch := source.poll(size, 0.0)) is not None:
        assert len(batch) <= size
        got += batch.values
    assert got == values[start:]
