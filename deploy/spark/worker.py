"""What runs in a Spark Python worker: Arrow batches of alerts in, output records out.

Nothing here imports pyspark. A worker process loads model and decoder when its
first batch comes, and keeps them for all tasks that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deploy.settings import Settings
from models.bundle import DEPLOYED_MODEL
from models.runtime import OnnxClassifier, load_classifier
from stream.alerts import MessageBatch
from stream.avro.schemas import open_schemas
from stream.clock import system_clock
from stream.decode import Decoder
from stream.metrics import Metrics
from stream.nested import NestedDecoder
from stream.output.schema import arrow_schema
from stream.pipeline import Pipeline

__all__ = [
    "SPARK_SCHEMA",
    "VALUE",
    "WorkerOptions",
    "classify_messages",
    "classify_nested",
    "open_pipeline",
]

VALUE: Final = "value"
"""Column of the message bytes, as Spark's Kafka source calls it."""

_UNNAMED: Final = "spark"
"""Topic of records whose rows name none."""


def _spark_type(kind: pa.DataType) -> pa.DataType:
    # Spark knows times in microseconds only.
    return pa.timestamp("us", tz=kind.tz) if pa.types.is_timestamp(kind) else kind


SPARK_SCHEMA: Final = pa.schema(
    [field.with_type(_spark_type(field.type)) for field in arrow_schema()]
)
"""The output record with times as Spark has them."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the driver tells its workers; paths are paths on their machines."""

    model: Path | None = None
    """A model.onnx with its card; None: the one that comes with tinyt2."""
    threads: int = 1
    """Threads of ONNX Runtime in a worker: Spark already runs one worker per core."""
    surveys: tuple[str, ...] = ("ztf", "lsst")
    registry_url: str | None = None
    schema_folder: Path | None = None
    max_messages: int = 512
    """Messages that are classified at once."""

    @classmethod
    def of(cls, settings: Settings) -> WorkerOptions:
        """Return the part of the settings that a worker needs; no Kafka secret is in it."""
        return cls(
            model=settings.model.path,
            threads=settings.model.threads,
            surveys=tuple(settings.input.surveys),
            registry_url=settings.schemas.registry_url,
            schema_folder=settings.schemas.folder,
            max_messages=settings.batch.max_messages,
        )


@cache
def _classifier(model: Path | None, threads: int) -> OnnxClassifier:
    """Return the one classifier of this process for a model; it is loaded at the first call."""
    return load_classifier(model or DEPLOYED_MODEL, threads)


@cache
def open_pipeline(options: WorkerOptions) -> Pipeline:
    """Return the one pipeline of this process for some options."""
    schemas = open_schemas(options.registry_url, options.schema_folder)
    return Pipeline(
        Decoder(schemas, options.surveys),
        _classifier(options.model, options.threads),
        Metrics(topic="spark"),
        nested=NestedDecoder(options.surveys),
    )


def classify_messages(
    batches: Iterator[pa.RecordBatch], options: WorkerOptions
) -> Iterator[pa.RecordBatch]:
    """Yield the output records of raw alert messages, in `SPARK_SCHEMA`.

    A batch has the column ``value`` (binary) and may have ``topic``, ``partition``,
    ``offset`` and ``timestamp`` as Spark's Kafka source writes them. A null value counts
    as an empty message, as on Kafka.
    """
    for part in _parts(batches, options.max_messages):
        values = [value or b"" for value in part.column(VALUE).to_pylist()]
        yield from _records(part, values, None, options)


def classify_nested(
    batches: Iterator[pa.RecordBatch], options: WorkerOptions
) -> Iterator[pa.RecordBatch]:
    """Yield the output records of alerts in nested columns, in `SPARK_SCHEMA`.

    A batch has the columns that `stream.nested.NestedDecoder` reads, and may have those that say
    where a message came from.
    """
    for part in _parts(batches, options.max_messages):
        yield from _records(part, [b""] * part.num_rows, part, options)


def _parts(batches: Iterator[pa.RecordBatch], n: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for first in range(0, batch.num_rows, n):
            yield batch.slice(first, n)


def _records(
    part: pa.RecordBatch,
    values: list[bytes],
    rows: pa.RecordBatch | None,
    options: WorkerOptions,
) -> Iterator[pa.RecordBatch]:
    n = part.num_rows
    messages = MessageBatch(
        values=values,
        keys=[None] * n,
        topic=[_UNNAMED if name is None else name for name in _texts(part, "topic")],
        partition=_integers(part, "partition", 0).astype(np.int32),
        offset=_integers(part, "offset", 0),
        timestamp_ms=_integers(part, "timestamp", -1),
        ingest_ms=system_clock(),
        rows=rows,
    )
    outcomes = open_pipeline(options).process(messages)
    for table in (outcomes.alert_table(), outcomes.dead_letter_table()):
        if table.num_rows:
            yield from table.cast(SPARK_SCHEMA).combine_chunks().to_batches()


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    texts: list[str | None] = batch.column(name).cast(pa.string()).to_pylist()
    return texts


def _integers(batch: pa.RecordBatch, name: str, missing: int) -> npt.NDArray[np.int64]:
    """Return a column of integers or of times, in Unix ms."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, missing, np.int64)
    column = batch.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False)
    return np.asarray(pc.fill_null(column.cast(pa.int64()), missing))
