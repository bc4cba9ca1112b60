"""Real alerts through Apache Spark: row for row the answers of ``tinyt2 replay``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import array_append, coalesce, col, lit
from typer.testing import CliRunner

from deploy.bench.fink_frame import FORCED, fink_frame
from deploy.cli import app
from deploy.settings import BatchSettings, ModelSettings, Settings
from deploy.spark import job
from deploy.spark.fink import NOT_CLASSIFIED, t2
from deploy.spark.frames import classify
from deploy.spark.local import local_spark
from models.bundle import load_bundle
from models.errors import ConfigurationError
from stream.output.schema import arrow_schema

pytestmark = pytest.mark.system

Row = dict[str, Any]

# When something ran and where it came from differ between two runs of the same alerts.
CLASSES = {known.name for known in load_bundle().manifest.classes}
OF_THE_RUN = {"ingest_time", "publish_time", "topic"}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    # Several batches for one worker.
    batches = {"spark.sql.execution.arrow.maxRecordsPerBatch": "16"}
    with local_spark(2, tmp_path_factory.mktemp("spark"), batches) as session:
        yield session


@pytest.fixture(scope="module")
def replayed(alerts_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Return the rows that ``tinyt2 replay`` writes for all fixtures, good and bad."""
    out = tmp_path_factory.mktemp("replay") / "replayed.parquet"
    done = CliRunner().invoke(app, ["replay", str(alerts_dir), "--out", str(out)])
    assert done.exit_code == 0, done.output
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

    def of_the_alerts(those: list[Row]) -> list[Row]:
        kept = [{k: v for k, v in row.items() if k not in OF_THE_RUN} for row in those]
        return sorted(kept, key=repr)

    assert len(rows) == len(expected)
    for row, other in zip(of_the_alerts(rows), of_the_alerts(expected), strict=True):
        assert row == other


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


def test_spark_job_writes_json_to_kafka_keyed_by_object(
    spark: SparkSession, alerts_dir: Path
) -> None:
    records = classify(messages(spark, alerts_dir / "ztf" / "4.02"))
    rows = job.as_json(records).collect()
    assert len(rows) == 4
    for row in rows:
        record = json.loads(row.value)
        assert (record["object_id"], record["survey"]) == (row.key, "ztf")
        if record["outcome"] == "classified":
            assert set(record["probabilities"]) == CLASSES
    assert any(json.loads(row.value)["outcome"] == "classified" for row in rows)


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


def alerts_in(packets: list[bytes]) -> list[dict[str, Any]]:
    alerts = [alert for packet in packets for alert in fastavro.reader(io.BytesIO(packet))]
    return [alert for alert in alerts if isinstance(alert, dict)]


def nested_frame(spark: SparkSession, alerts: list[dict[str, Any]], folder: Path) -> DataFrame:
    """Return alerts as Fink's Parquet has them: with cutouts and fields that nobody reads."""
    # Schemas of different versions have different fields: Parquet has them all, null if absent.
    names = {path: set().union(*(f for a in alerts for f in fields(a, path))) for path in NESTED}
    absent = dict.fromkeys(name for alert in alerts for name in alert)
    rows = []
    for alert in alerts:
        row = absent | alert
        for path in NESTED:
            whole = [dict.fromkeys(sorted(names[path])) | f for f in fields(alert, path)]
            if isinstance(alert.get(path), list):
                row[path] = whole
            elif whole:
                (row[path],) = whole
        rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows), folder / "alerts.parquet")
    return spark.read.parquet(str(folder / "alerts.parquet"))


NESTED = ("candidate", "prv_candidates", "fp_hists", "prvDiaSources", "prvDiaForcedSources")


def fields(alert: dict[str, Any], path: str) -> list[dict[str, Any]]:
    part = alert.get(path) or []
    return part if isinstance(part, list) else [part]


@pytest.mark.parametrize("folder", ["ztf", "lsst/9.0/container", "lsst/10.0/container"])
def test_spark_reads_nested_columns_as_replay_reads_packets(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row], tmp_path: Path, folder: str
) -> None:
    packets = [path.read_bytes() for path in sorted((alerts_dir / folder).rglob("*.avro"))]
    frame = nested_frame(spark, alerts := alerts_in(packets), tmp_path)
    rows = records(classify(frame))
    assert_same(
        rows, [row for row in replayed if row["topic"].startswith(f"{alerts_dir / folder}")]
    )
    assert len(rows) == len(alerts)
    assert any(row["outcome"] == "classified" for row in rows)


def test_spark_refuses_a_nested_row_as_replay_refuses_a_packet(
    spark: SparkSession, alerts_dir: Path, tmp_path: Path
) -> None:
    packet = sorted((alerts_dir / "ztf" / "3.3").glob("*.avro"))[0].read_bytes()
    (alert,) = alerts_in([packet])
    broken = {**alert, "candidate": {**alert["candidate"], "magpsf": -999.0}}
    rows = records(classify(nested_frame(spark, [alert, broken], tmp_path)))
    assert (rows[0]["alert_id"], rows[0]["error"]) == (alert["candid"], None)
    assert rows[1]["outcome"] == "dead_letter"
    assert (rows[1]["reason"], rows[1]["topic"]) == ("invalid_field", "spark")
    assert "candidate.magpsf is -999" in rows[1]["error"]


def concat_col(frame: DataFrame, name: str) -> DataFrame:
    """Append the alert's own value to those of its history, as fink-utils does."""
    history = coalesce(col(f"prv_candidates.{name}"), lit([]))
    return frame.withColumn(f"c{name}", array_append(history, col(f"candidate.{name}")))


def test_spark_job_of_fink_has_the_answers_of_replay_in_its_column(
    spark: SparkSession, alerts_dir: Path, replayed: list[Row], tmp_path: Path
) -> None:
    packets = [path.read_bytes() for path in sorted((alerts_dir / "ztf").rglob("*.avro"))]
    frame = nested_frame(spark, alerts_in(packets), tmp_path).withColumns(
        {"roid": lit(0), "cdsxmatch": lit("Unknown")}
    )
    for name in ("jd", "fid", "magpsf", "sigmapsf", "isdiffpos", "diffmaglim"):
        frame = concat_col(frame, name)
    args = ["candid", "cjd", "cfid", "cmagpsf", "csigmapsf", "roid", "cdsxmatch"]
    args += ["candidate.jdstarthist", "cisdiffpos", "cdiffmaglim"]
    args += [f"fp_hists.{name}" for name in FORCED]
    answers: dict[int, Any] = dict(frame.select("candid", t2(*args).alias("t2")).collect())
    expected = {row["alert_id"]: row for row in replayed if row["survey"] == "ztf"}
    assert set(answers) == set(expected)
    for candid, answer in answers.items():
        if expected[candid]["outcome"] == "classified":
            assert answer == expected[candid]["probabilities"]
        elif expected[candid]["reason"] != "solar_system":
            assert set(answer.values()) == {NOT_CLASSIFIED}


def test_spark_4_passes_columns_of_fink_by_name(spark: SparkSession, alerts_dir: Path) -> None:
    packets = [path.read_bytes() for path in sorted((alerts_dir / "ztf" / "3.3").glob("*.avro"))]
    columns = ["candid", "cjd", "cfid", "cmagpsf", "csigmapsf", "cisdiffpos"]
    frame = spark.createDataFrame(fink_frame(packets)[columns])
    rows = frame.select(
        t2(*columns[:5], isdiffpos="cisdiffpos").alias("named"), t2(*columns[:5]).alias("bare")
    ).collect()
    assert len(rows) == len(packets)
    assert {frozenset(row.named) for row in rows} == {frozenset(CLASSES)}
    assert any(row.named != row.bare for row in rows)
