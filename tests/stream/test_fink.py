"""Alerts as the Fink broker passes them on: containers of its own, with columns of its own."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream.alerts import MessageBatch, RefusedReason
from stream.decode import Decoder
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch
from tests.conftest import ALERTS
from tests.nested import records_of
from tests.records import write_body

ZTF = sorted((ALERTS / "ztf" / "4.02").glob("*.avro"))[:3]
LSST = sorted((ALERTS / "lsst").rglob("container/*.avro"))

FINK_COLUMNS: dict[str, tuple[Any, Any]] = {
    "cdsxmatch": ("string", "Unknown"),
    "rf_snia_vs_nonia": ("double", 0.25),
    "roid": ("int", 0),
    "tracklet": (["string", "null"], ""),
    "lc_features_g": (
        {
            "type": "record",
            "name": "lc_features_g",
            "namespace": "topLevelRecord",
            "fields": [{"name": "amplitude", "type": ["double", "null"]}],
        },
        {"amplitude": 1.5},
    ),
    "xmatch": ([{"type": "map", "values": ["string", "null"]}, "null"], {"otype": "Star"}),
}


def redistributed(paths: list[Path], codec: str = "snappy") -> bytes:
    """Return the alerts of containers of one schema in one of Fink's."""
    schema, _ = records_of(paths[0])
    records = [record for path in paths for record in records_of(path)[1]]
    added = [{"name": name, "type": kind} for name, (kind, _) in FINK_COLUMNS.items()]
    # Fink's own columns stand behind some and before others of the survey's.
    fields = [*added[:2], *schema["fields"], *added[2:]]
    values = {name: value for name, (_, value) in FINK_COLUMNS.items()}
    target: Any = {**schema, "name": "topLevelRecord", "namespace": "", "fields": fields}
    buffer = io.BytesIO()
    fastavro.writer(buffer, target, [{**record, **values} for record in records], codec=codec)
    return buffer.getvalue()


def keyed(path: Path) -> MessageBatch:
    """Return the alerts of a container as Fink sends them: the schema is the key."""
    container = io.BytesIO(redistributed([path], "null"))
    reader = fastavro.reader(container)
    schema: Any = reader.writer_schema
    values = [write_body(record, schema) for record in reader if isinstance(record, dict)]
    key = json.dumps({k: v for k, v in schema.items() if not k.startswith("__")}).encode()
    return replace(message_batch(values), keys=[key] * len(values))


def answers(outcomes: Outcomes) -> list[dict[str, Any]]:
    table = outcomes.alert_table().drop_columns(["offset"])
    rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    assert not outcomes.n_refused
    return rows


@pytest.mark.parametrize("codec", ["snappy", "null", "deflate"])
def test_a_container_of_ztf_alerts_is_classified_as_the_alerts_are(
    pipeline: Pipeline, codec: str
) -> None:
    expected = answers(pipeline.process(message_batch([path.read_bytes() for path in ZTF])))
    got = answers(pipeline.process(message_batch([redistributed(ZTF, codec)])))
    assert len(got) == 3
    assert got == expected


@pytest.mark.parametrize("path", LSST, ids=lambda path: path.stem)
def test_a_container_of_lsst_alerts_is_classified_as_the_alerts_are(
    pipeline: Pipeline, path: Path
) -> None:
    expected = answers(pipeline.process(message_batch([path.read_bytes()])))
    assert answers(pipeline.process(message_batch([redistributed([path])]))) == expected


def test_alerts_of_a_container_are_classified_as_if_each_came_alone(pipeline: Pipeline) -> None:
    """As the survey itself sends them: one message each."""
    (path,) = [path for path in LSST if path.stem.endswith("_x7")]
    schema, records = records_of(path)
    alone = []
    for record in records:
        buffer = io.BytesIO()
        fastavro.writer(buffer, schema, [record])
        alone.append(buffer.getvalue())
    expected = answers(pipeline.process(message_batch(alone)))
    assert len(expected) == 7
    assert answers(pipeline.process(message_batch([path.read_bytes()]))) == expected


@pytest.mark.parametrize("path", [*ZTF, *LSST], ids=lambda path: path.stem)
def test_records_whose_key_is_their_schema_are_classified(pipeline: Pipeline, path: Path) -> None:
    expected = answers(pipeline.process(message_batch([path.read_bytes()])))
    assert answers(pipeline.process(keyed(path))) == expected


def test_a_schema_in_keys_is_parsed_once() -> None:
    messages = keyed(ZTF[0])
    decoder = Decoder()
    for _ in range(3):
        assert len(decoder.decode(messages)) == 1
    assert (decoder.schema_cache_misses, decoder.schema_cache_hits) == (1, 2)


def test_damage_behind_a_key_is_refused() -> None:
    messages = keyed(ZTF[0])
    (value,), (key,) = messages.values, messages.keys
    assert key is not None
    cases = {
        value[:-1]: (key, RefusedReason.CORRUPT_BODY),
        value + b"x": (key, RefusedReason.TRAILING_BYTES),
        b"": (key, RefusedReason.EMPTY),
        value: (key[:-1], RefusedReason.INVALID_SCHEMA),
    }
    batch = replace(message_batch(list(cases)), keys=[k for k, _ in cases.values()])
    assert Decoder().decode(batch).refused.reason == [reason for _, reason in cases.values()]


@pytest.mark.parametrize("key", [None, b"ZTF20aaelulu", b'{"id": 3}'])
def test_other_keys_do_not_matter(key: bytes | None) -> None:
    batch = replace(message_batch([ZTF[0].read_bytes()]), keys=[key])
    assert len(Decoder().decode(batch)) == 1
    bare = replace(keyed(ZTF[0]), keys=[key])
    assert Decoder().decode(bare).refused.reason == [RefusedReason.NOT_AVRO]
