"""Alerts as the Fink broker passes them on: containers of its own, with columns of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch
from tests.conftest import ALERTS
from tests.nested import records_of

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
