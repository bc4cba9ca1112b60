"""In Fink and in Spark: ours against the paper's path and the modules that Fink runs.

All take the same real ZTF alerts in one run, and count the processor time of everything
that works for them: this process, Spark's JVM with its Python workers, and the interpreter
that has fink-science. So a rate is alerts per second and core, whoever waits for whom.

In favour of the paper, its path runs here without Spark, on light curves that are ready. The
modules of Fink too are called without Spark, with what Spark would hand them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from deploy.bench.alerts import ZTF, Histories, messages
from deploy.bench.fink_frame import HISTORY, fink_frame, nested_rows
from deploy.bench.fink_peers import Peers, fink_peers
from deploy.bench.measure import Result, rate
from deploy.bench.paper import PaperPath, paper_curves
from deploy.bench.processes import tree_seconds
from deploy.spark.fink import NOT_CLASSIFIED, probabilities, t2
from deploy.spark.frames import classify
from deploy.spark.light_curves import decode_histories
from deploy.spark.local import local_spark
from models.timing import Seconds, Task, interleave

__all__ = ["measure"]

_PAPER: Final = "paper: Gaussian process, scaling, t2 in ONNX Runtime"
_PASS_THROUGH: Final = "mapInPandas that changes nothing, same columns"
_ROWS: Final = 10_000
"""Rows in an Arrow batch, Spark's default."""
_PACKETS: Final = 512
"""The same for packets with images, of which 10,000 take 750 MB."""
_PASS_PACKETS: Final = "mapInArrow that changes nothing, same packets with images"
_ARGUMENTS: Final = ("candid", "cjd", "cfid", "cmagpsf", "csigmapsf")
_NAMED: Final = {"isdiffpos": "cisdiffpos", "diffmaglim": "cdiffmaglim"}
_COLUMNS: Final = (*_ARGUMENTS, *_NAMED.values())


def measure(
    progress: Progress, rounds: int, alerts: int, packets: int, fink_python: Path | None
) -> list[Result]:
    """Classify so many alerts in Fink's columns, and so many raw packets, in every round."""
    frame, values = _alerts()
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        peers = Peers({}, {})
        if fink_python is not None:
            peers = stack.enter_context(fink_peers(fink_python, frame))
        for module, why in peers.absent.items():
            progress.console.print(f"left out: {module} of fink-science: {why}", highlight=False)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinyt2-bench-")))
        spark = stack.enter_context(local_spark(1, folder, {"spark.driver.memory": "2g"}))
        tasks = {
            **_ours(frame, alerts),
            **_in_spark(spark, folder, _repeated(frame, alerts), values, packets),
            **peers.tasks,
        }
        taken = interleave(tasks, rounds, progress, "fink", clock=lambda: tree_seconds(os.getpid()))
    return _results(taken, peers)


def _results(taken: Mapping[str, Seconds], peers: Peers) -> list[Result]:
    module, paper = taken["module"], taken["paper"]
    return [
        rate("fink_module", module, _PAPER, paper),
        rate("fink_module_spark", taken["module_spark"], _PAPER, paper),
        rate("fink_nested_spark", taken["nested_spark"], _PAPER, paper),
        rate("fink_packets_spark", taken["packets_spark"], _PAPER, paper),
        rate(
            "fink_module_vs_pass_through",
            taken["module_spark"],
            _PASS_THROUGH,
            taken["pass_through"],
        ),
        rate(
            "fink_packets_vs_pass_through",
            taken["packets_spark"],
            _PASS_PACKETS,
            taken["pass_packets"],
        ),
        *(
            rate(f"fink_vs_{name}", module, f"fink-science: {name}", taken[name])
            for name in peers.tasks
        ),
    ]


def _alerts() -> tuple[pd.DataFrame, list[bytes]]:
    """Return the bundled ZTF alerts that the module classifies, as a frame and as packets."""
    packets = messages(ZTF)
    frame = fink_frame(packets)
    answers = probabilities(**_columns(frame), roid=frame["roid"])
    rows = [i for i, p in enumerate(answers) if NOT_CLASSIFIED not in p.values()]
    return frame.iloc[rows].reset_index(drop=True), [packets[i] for i in rows]


def _columns(frame: pd.DataFrame) -> dict[str, pd.Series]:
    return {"candid": frame["candid"]} | {name: frame[f"c{name}"] for name in HISTORY}


def _repeated(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    return frame.iloc[np.arange(n) % len(frame)].reset_index(drop=True)


def _ours(frame: pd.DataFrame, alerts: int) -> dict[str, Task]:
    """Return the module on arrays as Spark hands them over, and the paper's path."""
    many = _columns(_as_arrays(_repeated(frame, alerts)))
    columns = _columns(frame)
    batch = decode_histories(columns.pop("candid"), columns)
    curves = paper_curves(Histories(batch.curves, batch.trigger_mjd))
    path = PaperPath(curves)
    return {
        "module": Task(lambda: probabilities(**many), alerts),
        "paper": Task(lambda: [path.classify(curve) for curve in curves], len(curves)),
    }


def _as_arrays(frame: pd.DataFrame) -> pd.DataFrame:
    kinds: dict[str, Any] = {"cfid": np.int32, "cisdiffpos": object}
    cells = {
        name: [np.array(cell, kinds.get(name, np.float64)) for cell in frame[name]]
        for name in _COLUMNS[1:]
    }
    return frame.assign(**cells)


def _in_spark(
    spark: SparkSession, folder: Path, frame: pd.DataFrame, values: list[bytes], packets: int
) -> dict[str, Task]:
    """Return what runs in Spark, from frames in memory to nowhere."""
    alerts = len(frame)
    columns = pa.Table.from_pandas(frame[list(_COLUMNS)], preserve_index=False)
    flat = _cached(spark, columns, folder / "flat.parquet")
    rows = pa.Table.from_pylist(nested_rows(values)).take(np.arange(alerts) % len(values))
    nested = _cached(spark, rows, folder / "nested.parquet")
    raw = pa.array([values[i % len(values)] for i in range(packets)], pa.binary())
    whole = _cached(spark, pa.table({"value": raw}), folder / "packets.parquet")
    answers = flat.select(t2(*_ARGUMENTS, **_NAMED).alias("t2"))
    same = flat.mapInPandas(_unchanged, flat.schema)
    same_packets = whole.mapInArrow(_unchanged, whole.schema)
    return {
        "module_spark": Task(lambda: _write(answers, _ROWS), alerts),
        "nested_spark": Task(lambda: _write(classify(nested), _ROWS), alerts),
        "pass_through": Task(lambda: _write(same, _ROWS), alerts),
        "packets_spark": Task(lambda: _write(classify(whole), _PACKETS), packets),
        "pass_packets": Task(lambda: _write(same_packets, _PACKETS), packets),
    }


def _unchanged(parts: Iterator[Any]) -> Iterator[Any]:
    yield from parts


def _cached(spark: SparkSession, table: pa.Table, path: Path) -> DataFrame:
    """Return a frame of one partition that Spark holds in memory; a file is how it gets there."""
    pq.write_table(table, path, row_group_size=_PACKETS)
    frame = spark.read.parquet(str(path)).coalesce(1).cache()
    frame.count()
    return frame


def _write(frame: DataFrame, rows: int) -> None:
    """Compute a frame, with so many rows in an Arrow batch."""
    frame.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(rows))
    frame.write.format("noop").mode("overwrite").save()
