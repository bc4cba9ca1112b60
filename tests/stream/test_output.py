from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pytest

from models.errors import ConfigurationError
from models.taxonomy import CLASS_IDS, NOT_CLASSIFIED_ID, RESIDUAL_ID
from stream.output.encoders import ENCODERS, encode_avro, encode_elasticc, encode_json, encoder
from stream.output.outcomes import Outcomes
from stream.output.schema import CLASSIFICATION, ELASTICC, arrow_schema
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch
from tests.records import read_body, read_record, rows, write_body


def test_a_record_says_what_was_asked_and_who_answered(outcomes: Outcomes) -> None:
    records = rows(outcomes)
    classified = [row for row in records if row["outcome"] == "classified"]
    assert len(classified) == len(outcomes.classified)
    names = {c.name for c in outcomes.bundle.manifest.classes}
    for row in classified:
        assert set(row["probabilities"]) == names
        assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert row["reason"] is None
        assert row["model_sha256"] == outcomes.bundle.sha256
    for row in records:
        if row["outcome"] == "not_classified":
            assert row["probabilities"] is None
            # Whoever is too far from the training data learns how far.
            assert (row["ood_score"] is not None) == (row["reason"] == "out_of_distribution")
            assert row["reason"]


def test_probabilities_stay_with_their_alert(outcomes: Outcomes) -> None:
    records = rows(outcomes)
    names = [c.name for c in outcomes.bundle.manifest.classes]
    for row, expected in zip(outcomes.classified, outcomes.probabilities.tolist(), strict=True):
        answer = records[row]["probabilities"]
        assert [answer[name] for name in names] == expected


def test_the_three_times_are_kept_apart(outcomes: Outcomes) -> None:
    row = next(r for r in rows(outcomes) if r["object_id"] == "ZTF18acullba")
    assert row["observation_time"] == datetime(2025, 3, 25, 3, 22, 8, 3000, tzinfo=UTC)
    assert row["alert_time"] is None
    assert row["ingest_time"] == datetime.fromtimestamp(1_790_000_000, UTC)
    assert row["publish_time"] == datetime.fromtimestamp(1_790_000_000.04, UTC)


def test_avro_round_trip(outcomes: Outcomes) -> None:
    values = encode_avro(outcomes)
    assert len({value[:10] for value in values}) == 1
    assert [read_record(value) for value in values] == rows(outcomes)


def test_avro_is_what_fastavro_writes(outcomes: Outcomes) -> None:
    bodies = [value[10:] for value in encode_avro(outcomes)]
    assert bodies == [write_body(row, CLASSIFICATION) for row in rows(outcomes)]


def test_json_says_what_the_table_says(outcomes: Outcomes) -> None:
    decoded = [json.loads(value) for value in encode_json(outcomes)]
    assert decoded == [
        json.loads(json.dumps(row, default=datetime.isoformat)) for row in rows(outcomes)
    ]
    assert decoded[0]["publish_time"] == "2026-09-21T14:13:20.040000+00:00"
    assert decoded[0]["ingest_time"] == "2026-09-21T14:13:20+00:00"


def test_elasticc_is_schemaless_with_the_upstream_names(outcomes: Outcomes) -> None:
    assert ELASTICC["name"] == "elasticc.v0_9_1.brokerClassfication"
    for value, row in zip(encode_elasticc(outcomes), rows(outcomes), strict=True):
        record = read_body(value, ELASTICC)
        assert write_body(record, ELASTICC) == value
        assert record["alertId"] == row["alert_id"]
        assert record["diaSourceId"] == row["source_id"]
        assert record["brokerName"] == "tinyt2"
        assert record["brokerVersion"] == version("tinyt2")
        answer = {c["classId"]: c["probability"] for c in record["classifications"]}
        assert sum(answer.values()) == pytest.approx(1.0, abs=1e-5)
        if row["probabilities"] is not None:
            assert answer == {CLASS_IDS[k]: p for k, p in row["probabilities"].items()}
        else:
            assert answer == {NOT_CLASSIFIED_ID: 1.0}


def test_no_alerts_give_no_records(pipeline: Pipeline) -> None:
    nothing = pipeline.process(message_batch([b"rubbish"]))
    assert nothing.n_refused == 1
    for encode in ENCODERS.values():
        assert encode(nothing) == []


def test_arrow_schema_follows_the_avro_schema() -> None:
    arrow = arrow_schema()
    assert arrow.names == [field["name"] for field in CLASSIFICATION["fields"]]
    assert arrow.field("observation_time").type == pa.timestamp("ms", tz="UTC")
    assert not arrow.field("outcome").nullable
    assert arrow.field("probabilities").nullable


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="avro, json, elasticc"):
        encoder("xml")


def test_a_time_that_is_no_date_does_not_cost_the_batch(outcomes: Outcomes) -> None:
    # Some published test packets have a trigger time of 1.48e9 days; a producer may also set any
    # Kafka timestamp.
    assert (outcomes.alerts.trigger_mjd > 1e9).any()
    odd = np.full(len(outcomes.messages), 2**62)
    odd[::2] = -(2**62)
    messages = dataclasses.replace(outcomes.messages, timestamp_ms=odd)
    broken = dataclasses.replace(outcomes, messages=messages)
    for encode in ENCODERS.values():
        assert len(encode(broken)) == len(outcomes.alerts)
    records = rows(broken)
    assert {row["alert_time"] for row in records} == {None}
    assert None in {row["observation_time"] for row in records}


def test_probability_that_the_classes_leave_over_is_residual(outcomes: Outcomes) -> None:
    half = dataclasses.replace(outcomes, probabilities=outcomes.probabilities / np.float32(2))
    for value, row in zip(
        encode_elasticc(half),
        outcomes.reason.to_pylist(),
        strict=True,
    ):
        answer = read_body(value, ELASTICC)["classifications"]
        if row is None:
            assert answer[-1] == {"classId": RESIDUAL_ID, "probability": pytest.approx(0.5)}
        else:
            assert [entry["classId"] for entry in answer] == [NOT_CLASSIFIED_ID]
