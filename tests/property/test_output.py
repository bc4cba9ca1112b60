"""Whatever alerts and messages say, all encoders write what the alert table says."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import Bundle, ModelClass
from models.lightcurve import LightCurves
from models.runtime import OnnxClassifier
from stream.alerts import AlertBatch, MessageBatch, NotClassifiedReason, RefusedMessages
from stream.output.encoders import encode_avro, encode_elasticc, encode_json
from stream.output.json_columns import json_records
from stream.output.outcomes import Outcomes
from stream.output.schema import CLASSIFICATION, ELASTICC
from tests.records import rows, write_body

LAST_MS = 253_402_300_799_999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLASSES = [("SNIa", 2222), ('"II"\\\n', 2224), ("é\U0001f52d", 2332)]
SHARE = 2**20
"""Probabilities are multiples of 1 / SHARE: their sums are exact in any order."""

longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
dates = st.integers(0, LAST_MS) | st.just(1_790_000_000_000)
answers = st.tuples(
    st.lists(st.integers(0, SHARE // 3), min_size=len(CLASSES), max_size=len(CLASSES)),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
alerts = st.fixed_dictionaries(
    {
        "alert_id": longs,
        "source_id": longs,
        "object_id": st.text(max_size=8),
        "survey": st.sampled_from(["ztf", "lsst", "süd"]),
        "observation_ms": longs | dates,
        "n_observations": st.integers(0, 2**31 - 1),
        "outcome": st.sampled_from(NotClassifiedReason) | answers,
        "message": st.integers(0, 3),
    }
)
messages = st.tuples(st.text(max_size=5), ints, longs, longs | dates)


@pytest.fixture(scope="session")
def bundle(classifier: OnnxClassifier) -> Bundle:
    names = [ModelClass(name=name, id=number) for name, number in CLASSES]
    manifest = classifier.bundle.manifest.model_copy(
        update={"name": "tiny\t\u2028", "classes": names}
    )
    return dataclasses.replace(classifier.bundle, manifest=manifest)


def outcomes_of(
    bundle: Bundle,
    alerts: list[dict[str, Any]],
    messages: list[tuple[str, int, int, int]],
    now_ms: int,
    duplicate: list[bool] | None = None,
) -> Outcomes:
    n = len(alerts)
    reason = [a["outcome"] if isinstance(a["outcome"], str) else None for a in alerts]
    classified = [i for i in range(n) if reason[i] is None]
    shares = [alerts[i]["outcome"][0] for i in classified]
    return Outcomes(
        messages=MessageBatch(
            values=[b"?"] * len(messages),
            keys=[None] * len(messages),
            topic=[m[0] for m in messages],
            partition=np.array([m[1] for m in messages], np.int32),
            offset=np.array([m[2] for m in messages], np.int64),
            timestamp_ms=np.array([m[3] for m in messages], np.int64),
            ingest_ms=now_ms,
        ),
        alerts=AlertBatch(
            curves=no_curves(n),
            alert_id=np.array([a["alert_id"] for a in alerts], np.int64),
            source_id=np.array([a["source_id"] for a in alerts], np.int64),
            object_id=pa.array([a["object_id"] for a in alerts], pa.string()),
            survey=pa.array([a["survey"] for a in alerts], pa.string()).dictionary_encode(),
            trigger_mjd=np.zeros(n),
            observation_ms=np.array([a["observation_ms"] for a in alerts], np.int64),
            solar_system=np.zeros(n, np.bool_),
            message=np.array([a["message"] for a in alerts], np.int32),
            refused=RefusedMessages(),
        ),
        n_observations=np.array([a["n_observations"] for a in alerts], np.int64),
        reason=pa.array(reason, pa.string()).dictionary_encode(),
        classified=np.array(classified, np.int64),
        probabilities=(np.array(shares, np.float64) / SHARE)
        .astype(np.float32)
        .reshape(-1, len(CLASSES)),
        ood_score=np.array(
            [np.nan if isinstance(a["outcome"], str) else a["outcome"][1] for a in alerts],
            np.float32,
        ),
        bundle=bundle,
        publish_ms=now_ms,
        duplicate=None if duplicate is None else np.array(duplicate[:n], np.bool_),
    )


def no_curves(n: int) -> LightCurves:
    none = np.zeros(0, np.float32)
    return LightCurves.from_observations(
        curve=none.astype(np.int64),
        mjd=none.astype(np.float64),
        band=none.astype(np.uint8),
        flux=none,
        flux_err=none,
        rank=none.astype(np.uint8),
        n_curves=n,
    )


def record(
    outcomes: Outcomes, alert: dict[str, Any], message: tuple[str, int, int, int]
) -> dict[str, Any]:
    """Return the output record of an alert, put together one value at a time."""
    manifest = outcomes.bundle.manifest
    answer = alert["outcome"]
    classified = not isinstance(answer, str)
    return {
        "outcome": "classified" if classified else "not_classified",
        "reason": None if classified else str(answer),
        **{name: alert[name] for name in ("alert_id", "source_id", "object_id", "survey")},
        "n_observations": alert["n_observations"],
        "observation_time": time(alert["observation_ms"]),
        "alert_time": time(message[3]),
        "ingest_time": time(outcomes.messages.ingest_ms),
        "publish_time": time(outcomes.publish_ms),
        "model_name": manifest.name,
        "model_version": manifest.version,
        "model_sha256": outcomes.bundle.sha256,
        "probabilities": shares_by_name(answer[0]) if classified else None,
        "ood_score": answer[1] if classified else None,
        "topic": message[0],
        "partition": message[1],
        "offset": message[2],
        "error": None,
        "payload": None,
        "duplicate": None,
    }


def time(unix_ms: int) -> datetime | None:
    return EPOCH + timedelta(milliseconds=unix_ms) if 0 <= unix_ms <= LAST_MS else None


def shares_by_name(shares: list[int]) -> dict[str, float]:
    return {name: share / SHARE for (name, _), share in zip(CLASSES, shares, strict=True)}


def elasticc_record(
    outcomes: Outcomes, alert: dict[str, Any], message: tuple[str, int, int, int]
) -> dict[str, Any]:
    manifest, ingest_ms = outcomes.bundle.manifest, outcomes.messages.ingest_ms
    answer = [(300, 1.0)]
    if not isinstance(alert["outcome"], str):
        shares = alert["outcome"][0]
        answer = [(number, s / SHARE) for (_, number), s in zip(CLASSES, shares, strict=True)]
        if sum(shares) < SHARE:
            answer.append((200, 1 - sum(shares) / SHARE))
    return {
        "alertId": alert["alert_id"],
        "diaSourceId": alert["source_id"],
        "elasticcPublishTimestamp": message[3] if time(message[3]) else ingest_ms,
        "brokerIngestTimestamp": ingest_ms,
        "brokerName": "tinyt2",
        "brokerVersion": version("tinyt2"),
        "classifierName": f"{manifest.name} {manifest.version}",
        "classifierParams": f"sha256={outcomes.bundle.sha256}",
        "classifications": [{"classId": c, "probability": p} for c, p in answer],
    }


@settings(deadline=None)
@given(
    alerts=st.lists(alerts, max_size=5),
    messages=st.lists(messages, min_size=4, max_size=4),
    now_ms=dates,
    duplicate=st.none() | st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_records_are_those_of_the_alerts(
    bundle: Bundle,
    alerts: list[dict[str, Any]],
    messages: list[tuple[str, int, int, int]],
    now_ms: int,
    duplicate: list[bool] | None,
) -> None:
    outcomes = outcomes_of(bundle, alerts, messages, now_ms, duplicate)
    sources = [(outcomes, alert, messages[alert["message"]]) for alert in alerts]
    expected = [record(*source) for source in sources]
    for row, mark in zip(expected, duplicate or (), strict=False):
        row["duplicate"] = mark
    assert rows(outcomes) == expected
    bodies = [value[10:] for value in encode_avro(outcomes)]
    assert bodies == [write_body(row, CLASSIFICATION) for row in expected]
    assert encode_elasticc(outcomes) == [
        write_body(elasticc_record(*source), ELASTICC) for source in sources
    ]
    values = encode_json(outcomes)
    assert all(value.isascii() for value in values)
    assert [json.loads(value) for value in values] == [
        json.loads(json.dumps(row, default=datetime.isoformat)) for row in expected
    ]


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(width=32), max_size=6))
def test_numbers_in_json_are_read_back_as_they_were(numbers: list[float | None]) -> None:
    column = pa.array(numbers, pa.float32())
    values = [json.loads(v)["x"] for v in json_records({"x": column}, len(numbers))]
    assert values == [x if x is not None and math.isfinite(x) else None for x in numbers]
    assert {type(value) for value in values} <= {float, type(None)}


@settings(deadline=None)
@given(st.lists(st.none() | st.text(), max_size=6), st.lists(st.none() | st.binary(), max_size=6))
def test_text_in_json_is_that_of_python(
    texts: list[str | None], payloads: list[bytes | None]
) -> None:
    column = pa.array(texts, pa.string())
    for of in (column, column.dictionary_encode()):
        got = json_records({"a\n": of}, len(texts))
        assert got == [json.dumps({"a\n": text}).encode() for text in texts]
    coded = [None if p is None else base64.b64encode(p).decode() for p in payloads]
    got = json_records({"b": pa.array(payloads, pa.binary())}, len(payloads))
    assert got == [json.dumps({"b": text}).encode() for text in coded]
