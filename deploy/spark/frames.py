"""Classify the alerts of a Spark DataFrame, in batch or in Structured Streaming."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql.functions import col, struct, transform, when
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    IntegralType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from deploy.settings import Settings
from deploy.spark.worker import (
    SPARK_SCHEMA,
    VALUE,
    WorkerOptions,
    classify_messages,
    classify_nested,
)
from models.errors import ConfigurationError
from stream.avro.projection import ALERT, RecordFields
from stream.nested import survey_of
from stream.surveys.survey import Survey

__all__ = ["classify"]

_ORIGIN: Final[dict[str, tuple[type[DataType], ...]]] = {
    "topic": (StringType,),
    "partition": (IntegralType,),
    "offset": (IntegralType,),
    "timestamp": (TimestampType, TimestampNTZType),
}
"""What Spark's Kafka source says of a message, beside its bytes."""


def classify(
    df: DataFrame, column: str | None = None, settings: Settings | None = None
) -> DataFrame:
    """Return one row per alert, and one per refused message, in the output schema.

    ``column`` holds the bytes of whole messages, ``value`` unless another is named. A frame
    without it may hold decoded alerts, one a row, in nested columns of the survey's own names, as
    Fink writes them: of those, only the fields that are read go to the Python workers. ``topic``,
    ``partition``, ``offset`` and ``timestamp`` are passed on where ``df`` has them.

    Settings are read on the driver, and what they name (model, schema folder) must be there on
    every executor. Nothing is loaded before an executor has work.

    Raises `ConfigurationError` for a frame with neither.
    """
    options = WorkerOptions.of(Settings() if settings is None else settings)
    origin = [
        name
        for name, kinds in _ORIGIN.items()
        if name in df.columns and isinstance(df.schema[name].dataType, kinds)
    ]
    survey = None
    if column is None and VALUE not in df.columns:
        survey = survey_of(to_arrow_schema(df.schema), options.surveys)
    if survey is None:
        messages = _messages(df, column or VALUE)
        classify_batches = partial(classify_messages, options=options)
        selected = df.select(messages, *[name for name in origin if name != column])
    else:
        classify_batches = partial(classify_nested, options=options)
        selected = df.select(*_alert_columns(df.schema, survey), *origin)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return classify_batches(batches)

    return selected.mapInArrow(run, from_arrow_schema(SPARK_SCHEMA))


def _messages(df: DataFrame, column: str) -> Column:
    if column not in df.columns:
        raise ConfigurationError(
            f"the frame has no column {column!r} of messages and no columns of decoded alerts "
            f"(candidate, diaSource); it has {', '.join(df.columns)}",
            column,
        )
    kind = df.schema[column].dataType
    if not isinstance(kind, BinaryType):
        raise ConfigurationError(
            f"column {column!r} is {kind.simpleString()}, must be binary", column
        )
    return col(column).alias(VALUE)


def _alert_columns(schema: StructType, survey: Survey) -> list[Column]:
    """Return the columns that a survey reads, without the fields that it does not."""
    columns: dict[str, Column] = {}
    for used in survey.uses:
        names = used.fields if used.path == ALERT else (used.path,)
        for name in names:
            if name in schema.names:
                columns[name] = _pruned(name, schema[name].dataType, used).alias(name)
    return list(columns.values())


def _pruned(name: str, kind: DataType, used: RecordFields) -> Column:
    def fields(record: Column, of: StructType) -> Column:
        kept = [record[field].alias(field) for field in used.fields if field in of.names]
        return when(record.isNotNull(), struct(*kept))

    if used.path == ALERT:
        return col(name)
    if isinstance(kind, StructType):
        return fields(col(name), kind)
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType):
        entry = kind.elementType
        return transform(name, lambda record: fields(record, entry))
    return col(name)
