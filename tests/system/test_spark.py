"""Real alerts through Apache Spark: row for row the answers of ``tinyt2 replay``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, lit

from deploy.settings import BatchSettings, ModelSettings, Settings
from deploy.spark import job
from deploy.spark.frames import classify
from deploy.wiring import replay
from models.errors import ConfigurationError
from stream.output.schema import arrow_schema

pytestmark = pytest.mark.system

Row = dict[str, Any]

# When something ran and where it came from differ between two runs of the same alerts.
OF_THE_RUN = {"ingest_time", "publish_time", "topic"}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("spark")
    quiet = folder / "log4j2.properties"
    quiet.write_text("rootLogger.level = off\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={quiet}")
            .config("spark.local.dir", str(folder))
            .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.ui.enabled", "false")
            # Several batches for one worker.
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "16")
            .getOrCreate()
        )
        yield session
        session.stop()


@pytest.fixture(scope="module")
def replayed(alerts_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Return the rows that ``tinyt2 replay`` writes for all fixtures, good and bad."""
    out = tmp_path_factory.mktemp("replay") / "replayed.parquet"
    replay(Settings(), [alerts_dir], out, lambda n: None, lambda outcomes: None)
    return rows_of(pq.read_table(out))


def rows_of(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist(maps_as_pydicts="strict")
    return rows


def messages(spark: SparkSession, folder: Path) -> DataFrame:
    """Return all fixtures as rows; Spark's own reader of files leaves out empty ones."""
    paths = sorted(folder.rglob("*.avro"))
    table = pa.table(
        {
            "value": pa.array([path.read_bytes() for path in paths], pa.binary()),
            "topic": pa.array([str(path) for path in paths]),
        }
    )
    return spark.createDataFrame(table).repartition(3)


def records(df: DataFrame) -> list[Row]:
    return rows_of(df.toArrow().cast(arrow_schema()))


def assert_same(rows: list[Row], expected: list[Row]) -> None:
    """Compare rows in any order: all fields exactly but those of the run."""

    def key(row: Row) -> tuple[str, int, str]:
        name = Path(row["topic"].removeprefix("file:")).name
        return name, row["alert_id"] or 0, row["reason"] or ""

    assert len(rows) == len(expected)
    for row, other in zip(sorted(rows, key=key), sorted(expected, key=key), strict=True):
        assert key(row) == key(other)
        assert {k: v for k, v in row.items() if k not in OF_THE_RUN} == {
            k: v for k, v in other.items() if k not in OF_THE_RUN
        }


def test_spark_classifies_as_replay_does(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row]
) -> None:
    rows = records(classify(messages(spark, alerts_dir)))
    assert_same(rows, replayed)
    assert {row["outcome"] for row in rows} == {"classified", "not_classified", "dead_letter"}


def test_spark_passes_on_where_a_message_came_from(spark: SparkSession, alerts_dir: Path) -> None:
    ztf = messages(spark, alerts_dir / "ztf" / "4.02")
    frame = ztf.select(
        "value",
        lit("ztf_20261125_programid1").alias("topic"),
        lit(3).alias("partition"),
        lit(17).cast("long").alias("offset"),
        lit("2026-11-25 01:02:03.004").cast("timestamp").alias("timestamp"),
    )
    rows = records(classify(frame))
    origin = {(r["topic"], r["partition"], r["offset"], r["alert_time"].isoformat()) for r in rows}
    time = "2026-11-25T01:02:03.004000+00:00"
    assert (len(rows), origin) == (4, {("ztf_20261125_programid1", 3, 17, time)})


def test_spark_refuses_a_null_as_an_empty_message(spark: SparkSession) -> None:
    frame = spark.createDataFrame(pa.table({"message": pa.array([None], pa.binary())}))
    (row,) = records(classify(frame, "message"))
    assert (row["outcome"], row["reason"], row["topic"]) == ("dead_letter", "empty", "spark")


@pytest.mark.parametrize("column", ["absent", "text"])
def test_spark_is_told_at_once_of_a_column_without_messages(
    spark: SparkSession, column: str
) -> None:
    frame = spark.createDataFrame(pa.table({"text": ["a"]}))
    with pytest.raises(ConfigurationError, match=column):
        classify(frame, column)


def test_spark_workers_load_the_model_that_is_named(
    spark: SparkSession, alerts_dir: Path, tmp_path: Path
) -> None:
    settings = Settings(
        model=ModelSettings(path=tmp_path / "absent.onnx"), batch=BatchSettings(max_messages=2)
    )
    frame = classify(messages(spark, alerts_dir / "ztf" / "4.02"), settings=settings)
    with pytest.raises(PySparkException, match=r"cannot read the model .*absent\.onnx"):
        frame.collect()


def test_spark_streams_as_replay_does(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row], tmp_path: Path
) -> None:
    source, out = tmp_path / "messages", tmp_path / "records"
    messages(spark, alerts_dir).write.parquet(str(source))
    stream = spark.readStream.schema("value binary, topic string")
    # One file at a time: several micro-batches, and one worker for all of them.
    stream = stream.option("maxFilesPerTrigger", "1")
    query = (
        classify(stream.parquet(str(source)))
        .writeStream.format("parquet")
        .option("path", str(out))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)
    assert query.lastProgress is not None and query.lastProgress["batchId"] == 2
    assert_same(records(spark.read.parquet(str(out))), replayed)


def test_spark_job_classifies_a_folder(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row], tmp_path: Path
) -> None:
    out = str(tmp_path / "records")
    job.main(["files", str(alerts_dir), "--out", out])
    (empty,) = alerts_dir.rglob("empty.avro")
    expected = [row for row in replayed if Path(row["topic"]) != empty]
    assert len(expected) == len(replayed) - 1
    assert_same(records(spark.read.parquet(out)), expected)


def test_spark_job_classifies_a_column_of_parquet(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row], tmp_path: Path
) -> None:
    source, out = str(tmp_path / "messages"), str(tmp_path / "records")
    frame = messages(spark, alerts_dir)
    frame.select(col("value").alias("packet"), "topic").write.parquet(source)
    job.main(["parquet", source, "--column", "packet", "--out", out])
    assert_same(records(spark.read.parquet(out)), replayed)
