"""``tinyt2 replay`` of archives: into folders, killed and gone on with, by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.archives import add_member, link_alerts, write_tarball
from tests.brokers import Broker, fresh_name
from tests.nested import nested_rows
from tests.records import read_topic

TIMES = ["ingest_time", "publish_time"]
"""When a run happened: all else is the same in every run."""


def start(
    *arguments: object, settings: Mapping[str, str] | None = None, start_new_session: bool = False
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy.cli", "replay", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", **(settings or {})},
        start_new_session=start_new_session,
    )


def replay(*arguments: object, code: int = 0, **settings: str) -> str:
    """Run to the end; return what it says."""
    with start(*arguments, settings=settings) as process:
        out, err = process.communicate(timeout=1800)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return " ".join((out if code == 0 else err).split())


def records(out: Path) -> pa.Table:
    """Return all records below a folder in order of their origin, without `TIMES`."""
    table = ds.dataset(out, format="parquet", partitioning=_HIVE).to_table()
    return table.drop_columns(TIMES).sort_by(
        [(name, "ascending") for name in ("topic", "offset", "alert_id")]
    )


_HIVE = ds.partitioning(pa.schema([("survey", pa.string()), ("night", pa.string())]), flavor="hive")


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.glob("survey=*/**/*.parquet")}


def n_done(out: Path) -> int:
    return len(list((out / "_checkpoint" / "done").glob("*.json")))


def kill_midway(out: Path, *arguments: object, segments: int = 1) -> None:
    """Run until so many more segments are done, then kill it at a moment of its own choice."""
    before = n_done(out)
    with start(*arguments, "--out", f"{out}/") as process:
        deadline = time.monotonic() + 600
        while n_done(out) < before + segments:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(np.random.default_rng(before).uniform(0.0, 0.2))
        assert process.poll() is None, "it was done before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def archive(alerts_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of every form: 2,200 files, 1,000 members, 900 rows."""
    folder = tmp_path_factory.mktemp("archive") / "night"
    originals = sorted(path for path in alerts_dir.rglob("*.avro") if path.stat().st_size < 200_000)
    link_alerts(folder, originals, 2200)
    ztf = sorted((alerts_dir / "ztf").rglob("*.avro"))
    write_tarball(
        folder / "ztf_public_20200101.tar.gz",
        [ztf[i % len(ztf)].read_bytes() for i in range(1000)],
        lambda tar: add_member(tar, "link.avro", type=b"2", linkname="x"),
    )
    rows = nested_rows(alerts_dir / "ztf" / "4.02" / "ZTF19aayzasw_2752190655615010066.avro")
    table = pa.Table.from_batches([rows] * 900)
    pq.write_table(table, folder / "fink.parquet", row_group_size=300)
    return folder


@pytest.fixture(scope="module")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    said = replay(archive, "--out", f"{out}/", "--checkpoint-every", 400)
    assert "messages │ │ 4,101" in said
    assert "earlier runs" not in said
    return out


def test_an_archive_becomes_partitions(undisturbed: Path, archive: Path) -> None:
    table = records(undisturbed)
    of_rows = pc.equal(table["topic"], str(archive / "fink.parquet"))
    rows = table.filter(of_rows)
    assert rows["offset"].to_pylist() == list(range(900))
    assert set(rows["night"].to_pylist()) == {"20240715"}
    dead = table.filter(pc.equal(table["survey"], "unknown"))
    assert set(dead["outcome"].to_pylist()) == {"dead_letter"}
    link = dead.filter(pc.ends_with(dead["topic"], "link.avro"))
    assert link["reason"].to_pylist() == ["not_a_file"]
    # As people read it, without naming a schema.
    assert pq.read_table(undisturbed, partitioning="hive").num_rows == len(table)


def test_a_folder_has_the_same_answers_as_a_file(undisturbed: Path, archive: Path) -> None:
    out = undisturbed.parent / "all.parquet"
    replay(archive, "--out", out)
    table = pq.read_table(out)
    table = table.drop_columns(TIMES).sort_by(
        [(name, "ascending") for name in ("topic", "offset", "alert_id")]
    )
    folder = records(undisturbed)
    for name in ("topic", "offset", "alert_id", "outcome", "reason", "object_id", "payload"):
        assert table[name].equals(folder[name]), name
    assert np.allclose(scores(table), scores(folder), rtol=0, atol=1e-5)


def scores(table: pa.Table) -> Any:
    return pc.fill_null(table["ood_score"], -1).to_numpy()


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_twice_it_ends_with_the_same_output(
    archive: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "out"
    arguments = (archive, "--checkpoint-every", 400, "--workers", workers)
    kill_midway(out, *arguments)
    kill_midway(out, *arguments, segments=2)
    assert 3 <= n_done(out) < n_done(undisturbed)
    said = replay(*arguments, "--out", f"{out}/")
    assert "messages were done by earlier runs and skipped" in said
    assert "messages │ │ 4,101" in said
    assert files(out) == files(undisturbed)
    assert records(out).equals(records(undisturbed))
    assert not list((out / "_checkpoint" / "aside").iterdir())


def test_a_second_run_has_nothing_to_do(archive: Path, undisturbed: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in undisturbed.glob("survey=*/**/*.parquet")}
    said = replay(archive, "--out", f"{undisturbed}/", "--checkpoint-every", 400)
    assert "4,101 messages were done by earlier runs and skipped" in said
    assert "0 alerts in" in said
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.fixture
def small(alerts_dir: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An archive of a few alerts and the folder it was replayed to."""
    folder = link_alerts(tmp_path / "few", sorted((alerts_dir / "ztf").rglob("*.avro"))[:4], 8)
    replay(folder, "--out", tmp_path / "out")
    yield folder, tmp_path / "out"


def test_what_has_changed_is_an_error_until_restart(small: tuple[Path, Path]) -> None:
    folder, out = small
    before = records(out)
    (folder / "0000" / "0000000.avro").unlink()
    said = replay(folder, "--out", out, code=2)
    assert "begun with another input: number 0 was" in said
    assert "--restart" in said
    said = replay(folder, "--out", out, code=2, TINYT2__BATCH__MAX_MESSAGES="100")
    assert "begun with another settings" in said
    assert records(out).equals(before)
    replay(folder, "--out", out, "--restart")
    assert len(records(out)) == 7


def test_lost_output_is_noticed(small: tuple[Path, Path]) -> None:
    folder, out = small
    next(out.glob("survey=*/**/*.parquet")).unlink()
    assert "is gone" in replay(folder, "--out", out, code=2)


def test_folders_that_cannot_be_used_are_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    folder, out = small
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    assert "holds other things" in replay(folder, "--out", other, code=2)
    assert "--workers" in replay(folder, "--out", "x.parquet", "--workers", 2, code=2)
    assert "either --out" in replay(folder, code=2)
    assert "lies in the output folder" in replay(out, "--out", out, code=2)


def test_two_at_once_do_not_share_a_folder(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(archive, "--out", f"{out}/", "--checkpoint-every", 400) as first:
        while not n_done(out):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # or it might be done before the other begins
        assert "another process writes" in replay(archive, "--out", f"{out}/", code=2)
        first.kill()
        first.communicate()


def test_a_worker_that_dies_fails_the_run_and_another_run_ends_it(
    archive: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = (archive, "--out", f"{out}/", "--checkpoint-every", 400, "--workers", 2)
    with start(*arguments) as process:
        while not n_done(out):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(_a_worker_of(process.pid), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended of signal 9" in err
    assert "same command again" in " ".join(err.split())
    replay(*arguments)
    assert records(out).equals(records(undisturbed))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_ends_at_once_and_can_be_gone_on_with(
    archive: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "out"
    arguments = (archive, "--out", f"{out}/", "--checkpoint-every", 400, "--workers", workers)
    with start(*arguments, start_new_session=True) as process:
        while not (out / "_checkpoint" / "run.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        # As Ctrl-C in a terminal does; workers are about to start.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    replay(*arguments)
    assert records(out).equals(records(undisturbed))


def _a_worker_of(pid: int) -> int:
    """Return a process that spawned for multiprocessing, not its resource tracker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no worker runs")


# To Kafka ------------------------------------------------------------------------------------


def test_an_archive_is_sent_as_it_is_and_in_rhythm(
    alerts_dir: Path, tmp_path: Path, broker: Broker
) -> None:
    topic = fresh_name("archive")
    broker.create_topics([topic])
    values = [path.read_bytes() for path in sorted((alerts_dir / "ztf").rglob("*.avro"))]
    path = write_tarball(
        tmp_path / "night.tar.gz",
        values,
        lambda tar: add_member(tar, "link.avro", type=b"2", linkname="x"),
    )
    servers = broker.bootstrap_servers
    arguments = (path, "--to-kafka", topic, "--rate", 100)
    said = replay(*arguments, TINYT2__KAFKA__BOOTSTRAP_SERVERS=servers)
    assert f"{len(values)} messages acknowledged on topic {topic}" in said
    # At 100 in the 20 s of a visit, they take about 4 s.
    seconds = float(said.split(" s ")[0].split()[-1])
    assert 2 < seconds < 12
    assert "1 could not be read" in said
    assert [message.value() for message in read_topic(servers, topic)] == values


def test_an_archive_is_sent_again_and_again_until_interrupted(
    alerts_dir: Path, broker: Broker
) -> None:
    topic, servers = fresh_name("forever"), broker.bootstrap_servers
    broker.create_topics([topic])
    values = [path.read_bytes() for path in sorted((alerts_dir / "ztf").rglob("*.avro"))]
    arguments = (alerts_dir / "ztf", "--to-kafka", topic, "--rate", 2000, "--forever")
    watcher = Consumer({"bootstrap.servers": servers, "group.id": topic})
    deadline = time.monotonic() + 60
    with start(*arguments, settings={"TINYT2__KAFKA__BOOTSTRAP_SERVERS": servers}) as process:
        try:
            place, end = TopicPartition(topic, 0), 0
            while end < 3 * len(values) and time.monotonic() < deadline:
                time.sleep(0.1)
                _, end = watcher.get_watermark_offsets(place, timeout=10)
        finally:
            process.send_signal(signal.SIGINT)
            watcher.close()
        _, said = process.communicate(timeout=60)
    got = [message.value() for message in read_topic(servers, topic)]
    rounds = len(got) // len(values)
    assert rounds >= 3
    assert got[: rounds * len(values)] == values * rounds
    assert process.returncode == 1
    assert "stopped: " in said, said


def test_what_cannot_be_sent_is_a_clear_error(
    archive: Path, tmp_path: Path, broker: Broker
) -> None:
    servers = {"TINYT2__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    said = replay(archive / "fink.parquet", "--to-kafka", "t", code=2, **servers)
    assert "decoded alerts in nested columns" in said
    absent = fresh_name("absent")
    (tmp_path / "a.avro").write_bytes(b"x")
    said = replay(tmp_path, "--to-kafka", absent, code=2, **servers)
    assert f"the topic '{absent}' does not exist" in said


# Long ----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_alerts_killed_twice(alerts_dir: Path, tmp_path: Path) -> None:
    """`pytest --run-long`: prints times, rates and peak memory."""
    archive = link_alerts(tmp_path / "night", sorted((alerts_dir / "ztf").rglob("*.avro")), 100_000)
    whole, killed, pair = (tmp_path / name for name in ("whole", "killed", "pair"))
    print("\none process:", replay(archive, "--out", f"{whole}/").split("alerts in")[1][:40])
    kill_midway(killed, archive)
    kill_midway(killed, archive)
    replay(archive, "--out", f"{killed}/")
    print("two:", replay(archive, "--out", f"{pair}/", "--workers", 2).split("alerts in")[1][:40])
    expected = records(whole)
    assert len(expected) == 100_000
    assert files(killed) == files(pair) == files(whole)
    assert records(killed).equals(expected)
    assert records(pair).equals(expected)
