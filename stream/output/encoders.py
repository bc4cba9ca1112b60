"""From outcomes to the bytes of Kafka messages, one encoder per output format."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import fastavro
import numpy as np
import pyarrow as pa

from models.errors import ConfigurationError
from models.taxonomy import NOT_CLASSIFIED_ID, RESIDUAL_ID
from stream.output.outcomes import Outcomes, is_date
from stream.output.schema import CLASSIFICATION, ELASTICC

__all__ = [
    "ENCODERS",
    "Encoder",
    "encode_avro",
    "encode_elasticc",
    "encode_json",
    "encoder",
    "json_lines",
]

Encoder = Callable[[Outcomes], list[bytes]]
"""Returns one message value per alert, in order."""

_SINGLE_OBJECT: Final = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(
        fastavro.schema.to_parsing_canonical_form(CLASSIFICATION), "CRC-64-AVRO"
    )
)
"""Avro single-object encoding: marker and fingerprint of the schema."""

_VERSION: Final = version("tinyt2")
_RESIDUAL_EPSILON: Final = 1e-6


def encode_avro(outcomes: Outcomes) -> list[bytes]:
    """Encode as Avro single-object messages: 0xC3 0x01, 8-byte fingerprint, body."""
    return [
        _SINGLE_OBJECT + _avro_body(CLASSIFICATION, row)
        for row in outcomes.alert_table().to_pylist(maps_as_pydicts="strict")
    ]


def encode_json(outcomes: Outcomes) -> list[bytes]:
    """Encode as JSON objects, times in ISO 8601."""
    return [line.encode() for line in json_lines(outcomes.alert_table())]


def encode_elasticc(outcomes: Outcomes) -> list[bytes]:
    """Encode as schemaless ELAsTiCC brokerClassification v0.9.1, no header."""
    bundle = outcomes.bundle
    alerts, messages = outcomes.alerts, outcomes.messages
    classifications = [[(NOT_CLASSIFIED_ID, 1.0)] for _ in range(len(alerts))]
    ids = [c.id for c in bundle.manifest.classes]
    for row, probabilities in zip(
        outcomes.classified, outcomes.predictions.probabilities.tolist(), strict=True
    ):
        classifications[row] = list(zip(ids, probabilities, strict=True))
        residual = 1.0 - sum(probabilities)
        if residual > _RESIDUAL_EPSILON:
            classifications[row].append((RESIDUAL_ID, residual))
    appended = messages.timestamp_ms[alerts.message]
    # A message without a usable time of its own gets the time it was read.
    published = np.where(is_date(appended), appended, messages.ingest_ms).tolist()
    common = {
        "brokerIngestTimestamp": messages.ingest_ms,
        "brokerName": "tinyt2",
        "brokerVersion": _VERSION,
        "classifierName": f"{bundle.manifest.name} {bundle.manifest.version}",
        "classifierParams": f"sha256={bundle.sha256}",
    }
    return [
        _avro_body(
            ELASTICC,
            {
                **common,
                "alertId": alert_id,
                "diaSourceId": source_id,
                "elasticcPublishTimestamp": published_ms,
                "classifications": [{"classId": i, "probability": p} for i, p in answer],
            },
        )
        for alert_id, source_id, published_ms, answer in zip(
            alerts.alert_id.tolist(),
            alerts.source_id.tolist(),
            published,
            classifications,
            strict=True,
        )
    ]


ENCODERS: Final[dict[str, Encoder]] = {
    "avro": encode_avro,
    "json": encode_json,
    "elasticc": encode_elasticc,
}


def encoder(name: str) -> Encoder:
    """Return the encoder of an output format; `ConfigurationError` for an unknown one."""
    if name not in ENCODERS:
        raise ConfigurationError(
            f"unknown output format {name!r}; known: {', '.join(ENCODERS)}", name
        )
    return ENCODERS[name]


def json_lines(table: pa.Table) -> list[str]:
    """Return each record of a table as a JSON object: times in ISO 8601, bytes in base64."""
    rows = table.to_pylist(maps_as_pydicts="strict")
    return [json.dumps(row, default=_json_value) for row in rows]


def _avro_body(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


def _json_value(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value.isoformat())
