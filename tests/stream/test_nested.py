"""Nested columns give the alerts that the packets give, and refuse what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.errors import ConfigurationError
from models.lightcurve import LightCurves
from stream.alerts import AlertBatch, MessageBatch, RefusedReason
from stream.avro.tables import CAPACITY
from stream.decode import Decoder
from stream.nested import NestedDecoder, survey_of
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.rows import row_as_json
from stream.sources.memory import message_batch
from tests.conftest import ALERTS, read_index
from tests.nested import nested_rows

CONTAINERS = [
    ALERTS / row["path"]
    for row in read_index()
    if row["expected"] == "decodes" and row["framing"] == "container"
]
ZTF = ALERTS / "ztf" / "4.02" / "ZTF19aayzasw_2752190655615010066.avro"
ZTF_COLUMNS = ["objectId", "candid", "candidate", "prv_candidates", "fp_hists"]


def same(a: AlertBatch, b: AlertBatch) -> bool:
    """Compare alerts bit by bit."""
    arrays = ("alert_id", "source_id", "trigger_mjd", "observation_ms", "solar_system")
    return (
        all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
        and a.object_id.equals(b.object_id)
        and a.survey.to_pylist() == b.survey.to_pylist()
        and all(
            np.array_equal(getattr(a.curves, name), getattr(b.curves, name))
            for name in LightCurves.__slots__
        )
    )


def as_messages(rows: pa.RecordBatch) -> MessageBatch:
    messages = message_batch([b""] * rows.num_rows)
    return MessageBatch(
        **{name: getattr(messages, name) for name in MessageBatch.__slots__ if name != "rows"},
        rows=rows,
    )


def refusals(rows: pa.RecordBatch) -> dict[int, str]:
    batch = NestedDecoder().decode(rows)
    assert set(batch.refused.reason) <= {RefusedReason.INVALID_FIELD}
    assert len(batch) == rows.num_rows - len(batch.refused)
    return dict(zip(batch.refused.message, batch.refused.error, strict=True))


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.stem)
def test_an_alert_is_the_same_as_columns(path: Path) -> None:
    packet = Decoder().decode(message_batch([path.read_bytes()]))
    assert len(packet) > 0
    assert same(NestedDecoder().decode(nested_rows(path)), packet)


def test_probabilities_are_the_same_bit_by_bit(pipeline: Pipeline) -> None:
    for survey in ("ztf", "lsst"):
        paths = [path for path in CONTAINERS if survey in path.parts]
        packets = pipeline.process(message_batch([path.read_bytes() for path in paths]))
        batches = [nested_rows(path).to_struct_array() for path in paths]
        rows: list[dict[str, Any]] = [row for batch in batches for row in batch.to_pylist()]
        kinds = pa.unify_schemas(
            [nested_rows(path).schema for path in paths], promote_options="permissive"
        )
        nested = pipeline.process(as_messages(pa.RecordBatch.from_pylist(rows, kinds)))
        assert answers(nested) == answers(packets)
        assert len(nested.classified) >= 3


def answers(outcomes: Outcomes) -> list[tuple[object, ...]]:
    table = outcomes.alert_table()
    names = ("alert_id", "outcome", "reason", "probabilities", "ood_score", "n_observations")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_only_the_columns_that_are_read_are_needed() -> None:
    assert same(
        NestedDecoder(["ztf"]).decode(nested_rows(ZTF, ZTF_COLUMNS)),
        NestedDecoder().decode(nested_rows(ZTF)),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda column: column.cast(pa.large_list(column.type.value_type)),
        lambda column: pa.concat_arrays([column, column]).slice(1, 1),
    ],
    ids=["large_list", "slice"],
)
def test_other_layouts_of_the_same_lists_read_the_same(change: Any) -> None:
    rows = nested_rows(ZTF, ZTF_COLUMNS)
    changed = rows.set_column(3, "prv_candidates", change(rows.column(3)))
    assert same(NestedDecoder().decode(changed), NestedDecoder().decode(rows))


def test_texts_may_be_large_or_dictionaries() -> None:
    rows = nested_rows(ZTF, ZTF_COLUMNS)
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        changed = rows.set_column(0, "objectId", rows.column(0).cast(kind))
        assert same(NestedDecoder().decode(changed), NestedDecoder().decode(rows))


def ztf_rows(*changes: dict[str, Any]) -> pa.RecordBatch:
    """Return one real alert per change, with that change made."""
    rows = nested_rows(ZTF, ZTF_COLUMNS)
    (record,) = rows.to_pylist()
    changed = [{**record, **change} for change in changes]
    return pa.RecordBatch.from_pylist(changed, rows.schema)


def test_a_row_that_cannot_be_used_does_not_cost_the_others() -> None:
    (record,) = nested_rows(ZTF, ZTF_COLUMNS).to_pylist()
    rows = ztf_rows(
        {},
        {"candid": None},
        {"candidate": None},
        {"objectId": ""},
        {"objectId": "x" * 2000},
        {"candidate": {**record["candidate"], "magpsf": float("nan")}},
        {"candidate": {**record["candidate"], "isdiffpos": "maybe not"}},
        {"prv_candidates": [record["prv_candidates"][0]] * (CAPACITY + 1)},
        {"prv_candidates": None, "fp_hists": []},
        {"prv_candidates": [None, record["prv_candidates"][0], None]},
    )
    said = refusals(rows)
    assert sorted(said) == [1, 2, 3, 4, 5, 6, 7]
    assert said[1] == "field candid is null, must be an integer"
    assert said[2].startswith("field candidate.jd is null")
    assert "objectId is ''" in said[3]
    assert "objectId is longer than 1024 bytes" in said[4]
    assert "candidate.magpsf is nan" in said[5]
    assert "candidate.isdiffpos is longer than 7 bytes" in said[6]
    assert f"more than {CAPACITY} entries" in said[7]


def test_types_that_cannot_be_used_are_refused() -> None:
    rows = ztf_rows({}, {})
    text = pa.array(["1", "2"])
    assert "candid is of another type" in refusals(rows.set_column(1, "candid", text))[1]
    histories = rows.set_column(3, "prv_candidates", pa.array(["[]", None]))
    assert refusals(histories) == {
        0: "field prv_candidates is of another type, must be an array of records"
    }
    structs = rows.set_column(2, "candidate", pa.array([[c] for c in rows["candidate"]]))
    assert "field candidate is of another type, must be a record" in refusals(structs)[0]


def test_text_that_is_not_utf8_is_refused() -> None:
    rows = ztf_rows({}, {})
    broken = pa.array([b"ZTF\xff", b"ZTF"]).view(pa.string())
    rows = rows.set_column(0, "objectId", broken)
    assert list(refusals(rows)) == [0]
    assert row_as_json(rows, 0) == b""


def test_columns_of_no_survey_and_columns_that_are_missing_are_refused() -> None:
    other = NestedDecoder().decode(pa.RecordBatch.from_pydict({"a": [1, 2]}))
    assert other.refused.reason == [RefusedReason.UNSUPPORTED_SURVEY] * 2
    only_lsst = NestedDecoder(["lsst"]).decode(ztf_rows({}))
    assert only_lsst.refused.reason == [RefusedReason.UNSUPPORTED_SURVEY]
    rows = ztf_rows({})
    assert "lacks objectId" in refusals(rows.drop_columns(["objectId"]))[0]
    with pytest.raises(ConfigurationError, match="panstarrs"):
        survey_of(rows.schema, ["panstarrs"])


def test_no_rows_are_no_alerts() -> None:
    batch = NestedDecoder().decode(ztf_rows({}).slice(0, 0))
    assert (len(batch), len(batch.refused)) == (0, 0)


def test_a_dead_letter_holds_its_row_as_json(pipeline: Pipeline) -> None:
    outcomes = pipeline.process(as_messages(ztf_rows({}, {"objectId": ""})))
    (payload,) = outcomes.dead_letter_table()["payload"].to_pylist()
    row = json.loads(payload)
    assert (row["objectId"], row["candid"]) == ("", 2752190655615010066)
    assert len(row["prv_candidates"]) > 0
