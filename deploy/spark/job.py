"""A Spark program: classify an archive, or a Kafka topic as it comes.

See ``README.md`` beside this file for the commands. It is run by ``spark-submit``
in an environment where tinyt2 is installed, on the driver and on every executor.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, struct, to_json

from deploy.settings import Settings, load_settings
from deploy.spark.frames import classify
from models.errors import TinyT2Error

__all__ = ["as_json", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job that the arguments ask for. An error of ours ends it with one line."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings(options.config)
        spark = _session(settings)
        run = {"files": _files, "parquet": _parquet, "kafka": _kafka}[options.source]
        run(spark, options, settings)
    except TinyT2Error as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Classify alerts with Spark.")
    parser.add_argument("--config", type=Path, help="settings of tinyt2, in TOML")
    sources = parser.add_subparsers(dest="source", required=True)
    files = sources.add_parser("files", help="a folder with one *.avro file per message")
    parquet = sources.add_parser("parquet", help="Parquet with the messages in a binary column")
    kafka = sources.add_parser("kafka", help="a Kafka topic, until stopped")
    parquet.add_argument("--column", default="value", help="column of the messages")
    for source in (files, parquet):
        source.add_argument("input", help="path or URL that Spark can read")
        source.add_argument("--out", required=True, help="folder for the Parquet output")
    kafka.add_argument("bootstrap_servers")
    kafka.add_argument("topic")
    kafka.add_argument("--checkpoint", required=True, help="folder for Spark's offsets")
    target = kafka.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", help="folder for the Parquet output")
    target.add_argument("--to-topic", help="topic for JSON records")
    kafka.add_argument("--once", action="store_true", help="stop when the topic is read")
    return parser


def _session(settings: Settings) -> SparkSession:
    # Spark sends 10,000 rows at once unless told otherwise: with images 750 MB.
    return (
        SparkSession.builder.appName("tinyt2")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(settings.batch.max_messages))
        .getOrCreate()
    )


def _files(spark: SparkSession, options: argparse.Namespace, settings: Settings) -> None:
    files = (
        spark.read.format("binaryFile")
        .option("pathGlobFilter", "*.avro")
        .option("recursiveFileLookup", "true")
        .load(options.input)
    )
    messages = files.select(col("content").alias("value"), col("path").alias("topic"))
    classify(messages, settings=settings).write.parquet(options.out)


def _parquet(spark: SparkSession, options: argparse.Namespace, settings: Settings) -> None:
    records = classify(spark.read.parquet(options.input), options.column, settings)
    records.write.parquet(options.out)


def _kafka(spark: SparkSession, options: argparse.Namespace, settings: Settings) -> None:
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", options.bootstrap_servers)
        .option("subscribe", options.topic)
        .option("startingOffsets", "earliest")
        .load()
    )
    records = classify(messages, settings=settings)
    if options.to_topic is None:
        writer = records.writeStream.format("parquet").option("path", options.out)
    else:
        writer = (
            as_json(records)
            .writeStream.format("kafka")
            .option("kafka.bootstrap.servers", options.bootstrap_servers)
            .option("topic", options.to_topic)
        )
    writer = writer.option("checkpointLocation", options.checkpoint)
    if options.once:
        writer = writer.trigger(availableNow=True)
    writer.start().awaitTermination()


def as_json(records: DataFrame) -> DataFrame:
    """Return Kafka messages, keyed by object as those of the service are."""
    return records.select(
        col("object_id").alias("key"), to_json(struct(*records.columns)).alias("value")
    )


if __name__ == "__main__":
    main()
