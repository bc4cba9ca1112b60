"""From outcomes to the bytes of Kafka messages, one encoder per output format.

Notation: n alerts, c of them classified, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import fastavro
import numpy as np
import pyarrow as pa

from models.errors import ConfigurationError
from models.taxonomy import NOT_CLASSIFIED_ID, RESIDUAL_ID
from stream.output.avro_columns import avro_records, compile_kernel
from stream.output.json_columns import json_records
from stream.output.outcomes import Outcomes, is_date
from stream.output.schema import CLASSIFICATION, ELASTICC

__all__ = [
    "ENCODERS",
    "Encoder",
    "encode_avro",
    "encode_elasticc",
    "encode_json",
    "encoder",
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
    columns = outcomes.alert_columns()
    return avro_records(CLASSIFICATION, columns, len(outcomes.alerts), prefix=_SINGLE_OBJECT)


def encode_json(outcomes: Outcomes) -> list[bytes]:
    """Encode as JSON objects, times in ISO 8601."""
    return json_records(outcomes.alert_columns(), len(outcomes.alerts))


def encode_elasticc(outcomes: Outcomes) -> list[bytes]:
    """Encode as schemaless ELAsTiCC brokerClassification v0.9.1, no header."""
    bundle = outcomes.bundle
    alerts, messages = outcomes.alerts, outcomes.messages
    appended = messages.timestamp_ms[alerts.message]
    # A message without a usable time of its own gets the time it was read.
    published = np.where(is_date(appended), appended, messages.ingest_ms)
    columns = {
        "alertId": pa.array(alerts.alert_id),
        "diaSourceId": pa.array(alerts.source_id),
        "elasticcPublishTimestamp": pa.array(published),
        "brokerIngestTimestamp": pa.scalar(messages.ingest_ms, pa.int64()),
        "brokerName": _text("tinyt2"),
        "brokerVersion": _text(_VERSION),
        "classifierName": _text(f"{bundle.manifest.name} {bundle.manifest.version}"),
        "classifierParams": _text(f"sha256={bundle.sha256}"),
        "classifications": _classifications(outcomes),
    }
    return avro_records(ELASTICC, columns, len(alerts))


def _text(value: str) -> pa.StringScalar:
    return pa.scalar(value, pa.string())


def _classifications(outcomes: Outcomes) -> pa.ListArray:
    """Return [n] lists of class ids and probabilities that sum to 1."""
    probabilities = outcomes.probabilities
    class_ids = np.array([c.id for c in outcomes.bundle.manifest.classes])
    k = len(class_ids)
    residual = 1.0 - probabilities.sum(axis=1, dtype=np.float64)
    has_residual = residual > _RESIDUAL_EPSILON
    count = np.ones(len(outcomes.alerts), np.int32)
    count[outcomes.classified] = k + has_residual
    splits = np.zeros(len(count) + 1, np.int32)
    np.cumsum(count, out=splits[1:])
    ids = np.full(splits[-1], NOT_CLASSIFIED_ID, np.int32)
    values = np.ones(splits[-1], np.float32)
    starts = splits[outcomes.classified]
    places = starts[:, None] + np.arange(k)
    ids[places], values[places] = class_ids, probabilities
    last = starts[has_residual] + k
    ids[last], values[last] = RESIDUAL_ID, residual[has_residual]
    entries = pa.StructArray.from_arrays(
        [pa.array(ids), pa.array(values)], names=["classId", "probability"]
    )
    return pa.ListArray.from_arrays(pa.array(splits), entries)


ENCODERS: Final[dict[str, Encoder]] = {
    "avro": encode_avro,
    "json": encode_json,
    "elasticc": encode_elasticc,
}


def encoder(name: str) -> Encoder:
    """Return the encoder of an output format, ready for use.

    Raises `ConfigurationError` for an unknown one.
    """
    if name not in ENCODERS:
        raise ConfigurationError(
            f"unknown output format {name!r}; known: {', '.join(ENCODERS)}", name
        )
    compile_kernel()
    return ENCODERS[name]
