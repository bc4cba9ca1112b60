"""Classify the alerts of a Spark DataFrame, in batch or in Structured Streaming."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.functions import col
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import BinaryType

from deploy.settings import Settings
from deploy.spark.worker import SPARK_SCHEMA, VALUE, WorkerOptions, classify_messages
from models.errors import ConfigurationError

__all__ = ["classify"]

_ORIGIN: Final = ("topic", "partition", "offset", "timestamp")
"""What Spark's Kafka source says of a message, beside its bytes."""


def classify(df: DataFrame, column: str = VALUE, settings: Settings | None = None) -> DataFrame:
    """Return one row per alert, and one per refused message, in the output schema.

    ``column`` holds the bytes of whole messages; ``topic``, ``partition``, ``offset`` and
    ``timestamp`` are passed on where ``df`` has them. Settings are read on the driver, and what
    they name (model, schema folder) must be there on every executor. Nothing is loaded before
    an executor has work.

    Raises `ConfigurationError` for a frame without such a column.
    """
    options = WorkerOptions.of(Settings() if settings is None else settings)
    if column not in df.columns:
        raise ConfigurationError(
            f"the frame has no column {column!r}; it has {', '.join(df.columns)}", column
        )
    if not isinstance(df.schema[column].dataType, BinaryType):
        raise ConfigurationError(
            f"column {column!r} is {df.schema[column].dataType.simpleString()}, must be binary",
            column,
        )
    origin = [name for name in _ORIGIN if name in df.columns and name != column]

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return classify_messages(batches, options)

    messages = df.select(col(column).alias(VALUE), *origin)
    return messages.mapInArrow(run, from_arrow_schema(SPARK_SCHEMA))
