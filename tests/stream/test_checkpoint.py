"""A segment is done or was never there, whatever moment a process is killed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.errors import ConfigurationError
from stream.accounting import Accounting
from stream.checkpoint import Checkpoint, Segment
from stream.output.schema import arrow_schema
from stream.sinks.partitions import nights

RUN = {"model": "abc", "input": ["a.avro (3 bytes)", "b.avro (4 bytes)"]}
FILE = "survey=ztf/night=20201231/00000-000000000.parquet"
ACCOUNTS = Accounting().as_log()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def written(checkpoint: Checkpoint, part: int = 0, start: int = 0) -> Segment:
    """Return a segment with its one file aside."""
    aside = checkpoint.aside(part, start)
    file = f"survey=ztf/night=20201231/{checkpoint.file_name(part, start)}"
    (aside / file).parent.mkdir(parents=True)
    (aside / file).write_text(f"{part} {start}")
    return Segment(part, start, start + 10, False, [file], ACCOUNTS)


def files(out: Path) -> list[str]:
    return sorted(str(p.relative_to(out)) for p in out.glob("survey=*/**/*.parquet"))


class Killed(Exception):
    """Stands for the end of a process."""


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Let the process end instead of doing its rename number ``after``."""
    rename, count = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        yield


def test_what_is_done_is_found_again(out: Path) -> None:
    first = Checkpoint.begin(out, RUN)
    assert first.done() == {}
    segments = [written(first), written(first, 0, 10), written(first, 1)]
    for segment in segments:
        first.commit(segment)
    first.close()
    second = Checkpoint.begin(out, RUN)
    assert second.done() == {0: segments[:2], 1: segments[2:]}
    assert len(files(out)) == 3
    second.close()


@pytest.mark.parametrize(("renames", "counts"), [(0, False), (1, True)])
def test_a_segment_counts_from_the_moment_its_record_has_its_name(
    out: Path, monkeypatch: pytest.MonkeyPatch, renames: int, counts: bool
) -> None:
    first = Checkpoint.begin(out, RUN)
    segment = written(first)
    with killed(monkeypatch, renames), pytest.raises(Killed):
        first.commit(segment)
    first.close()
    assert files(out) == []
    second = Checkpoint.begin(out, RUN)
    assert second.done() == ({0: [segment]} if counts else {})
    assert files(out) == ([FILE] if counts else [])
    assert list((out / "_checkpoint" / "aside").iterdir()) == []
    second.close()


def test_what_is_aside_of_an_earlier_try_is_gone_for_the_next(out: Path) -> None:
    checkpoint = Checkpoint.begin(out, RUN)
    written(checkpoint)
    assert list(checkpoint.aside(0, 0).iterdir()) == []
    checkpoint.close()


def test_another_run_is_refused_and_restart_deletes_only_what_is_its_own(out: Path) -> None:
    first = Checkpoint.begin(out, RUN)
    first.commit(written(first))
    first.close()
    (out / "notes.txt").write_text("mine")
    other = {**RUN, "model": "def"}
    with pytest.raises(ConfigurationError, match=r"another model: it was abc, is def.*--restart"):
        Checkpoint.begin(out, other).close()
    longer = {**RUN, "input": [*RUN["input"], "c"]}
    with pytest.raises(ConfigurationError, match="there were 2, there are 3"):
        Checkpoint.begin(out, longer).close()
    assert files(out) == [FILE]
    Checkpoint.begin(out, other, restart=True).close()
    assert files(out) == []
    assert sorted(path.name for path in out.iterdir()) == ["_checkpoint", "notes.txt"]


def test_a_folder_that_is_taken_is_refused(out: Path) -> None:
    first = Checkpoint.begin(out, RUN)
    with pytest.raises(ConfigurationError, match="another process"):
        Checkpoint.begin(out, RUN)
    first.close()
    Checkpoint.begin(out, RUN).close()


def test_a_file_is_no_folder(out: Path) -> None:
    out.write_text("x")
    with pytest.raises(ConfigurationError, match="is a file"):
        Checkpoint.begin(out, RUN)


def test_accounts_add_up_and_survive_the_record(out: Path) -> None:
    one = Accounting(messages_consumed=3, messages_decoded=2, alerts_decoded=2)
    one.alerts_classified = 1
    one.not_classified.update({"solar_system": 1})
    one.dead_letters.update({"empty": 1})
    both = one.copy()
    both.add(one)
    both.check()
    assert (both.messages_consumed, both.dead_letters["empty"]) == (6, 2)
    assert one.messages_consumed == 3
    segment = Segment(0, 0, 3, True, [], one.as_log())
    checkpoint = Checkpoint.begin(out, RUN)
    checkpoint.commit(segment)
    assert checkpoint.done()[0][0].accounting == one
    checkpoint.close()


@pytest.mark.parametrize(
    ("survey", "time", "night"),
    [
        ("ztf", "2020-12-31T03:00", "20201231"),
        ("ztf", "2020-12-31T13:30", "20201231"),
        ("lsst", "2025-08-15T23:30", "20250815"),
        ("lsst", "2025-08-16T09:00", "20250815"),
        ("lsst", "2025-08-16T12:00", "20250816"),
        ("ztf", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_nights_are_those_of_the_survey(survey: str | None, time: str | None, night: str) -> None:
    schema = pa.schema([arrow_schema().field(name) for name in ("survey", "observation_time")])
    ms = None if time is None else int(np.datetime64(time, "ms").astype(np.int64))
    table = pa.table({"survey": [survey], "observation_time": [ms]}, schema=schema)
    assert nights(table).to_pylist() == [night]
