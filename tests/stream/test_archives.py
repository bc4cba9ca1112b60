"""Archives of every form: what is read, what is refused, what stays bounded."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import ConfigurationError
from stream.alerts import MessageBatch
from stream.decode import Decoder
from stream.nested import NestedDecoder
from stream.sources import archive as archive_module
from stream.sources import parts as parts_module
from stream.sources import tarball as tarball_module
from stream.sources.archive import ArchiveSource
from stream.sources.memory import message_batch
from stream.sources.parts import Form, plan
from tests.archives import add_member, write_tarball
from tests.conftest import ALERTS
from tests.nested import nested_rows, records_of
from tests.stream.test_nested import same

ZTF = sorted((ALERTS / "ztf" / "4.02").glob("*.avro"))
VALUES = [path.read_bytes() for path in ZTF]


def read(*paths: Path, size: int = 100) -> list[MessageBatch]:
    source = ArchiveSource(paths)
    batches = []
    while (batch := source.poll(size, 0.0)) is not None:
        batches.append(batch)
    assert source.bytes_read == source.n_bytes
    return batches


def refusals(batches: list[MessageBatch]) -> dict[str, str]:
    """Return the reasons of what could not be read, by topic."""
    return {b.topic[i]: str(r.reason) for b in batches for i, r in b.refused.items()}


def test_files_folders_tarballs_and_parquet_mix(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.avro").write_bytes(VALUES[0])
    (folder / "readme.txt").write_text("no alert")
    write_tarball(folder / "b.tar.gz", VALUES[1:2])
    pq.write_table(pa.table({"value": VALUES[2:3]}), folder / "c.parquet")
    (folder / "_metadata.parquet").write_bytes(b"not an alert either")
    (folder / "d.avro").write_bytes(VALUES[3])
    named = tmp_path / "alert.bin"
    named.write_bytes(VALUES[0])
    assert [part.form for part in plan([folder, named])] == ["files", "tarball", "packets", "files"]
    batches = read(folder, named)
    assert [v for b in batches for v in b.values] == [*VALUES[:4], VALUES[0]]
    topics = [Path(t).relative_to(tmp_path) for b in batches for t in b.topic]
    assert [str(t) for t in topics] == [
        *["folder/a.avro", "folder/b.tar.gz/night/000000.avro", "folder/c.parquet"],
        *["folder/d.avro", "alert.bin"],
    ]


def test_the_output_is_not_taken_for_input(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(b"x")
    for out in (tmp_path / "out.parquet", tmp_path / "out"):
        pq.write_table(pa.table({"value": [b"y"]}), tmp_path / "out.parquet")
        (tmp_path / "out").mkdir(exist_ok=True)
        (part,) = plan([tmp_path], out=out)[:1]
        assert out not in part.paths
    assert len(plan([tmp_path], out=tmp_path / "out.parquet")) == 1


def test_files_are_cut_into_parts_by_number_and_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(10):
        (tmp_path / f"{i}.avro").write_bytes(bytes(100))
    assert [len(part.paths) for part in plan([tmp_path], max_messages=4)] == [4, 4, 2]
    monkeypatch.setattr(parts_module, "_PART_BYTES", 350)
    assert [len(part.paths) for part in plan([tmp_path])] == [3, 3, 3, 1]


def test_a_part_is_another_once_a_file_of_it_has_changed(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.avro").write_bytes(bytes(100))
    (before,) = plan([tmp_path])
    (tmp_path / "1.avro").write_bytes(bytes(101))
    (after,) = plan([tmp_path])
    assert before.identity != after.identity


# Tarballs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "not_a_file"),
        (tarfile.LNKTYPE, "not_a_file"),
        (tarfile.FIFOTYPE, "not_a_file"),
        (tarfile.CHRTYPE, "not_a_file"),
    ],
)
def test_members_that_are_no_files_are_refused_and_the_others_read(
    tmp_path: Path, kind: bytes, reason: str
) -> None:
    def then(archive: tarfile.TarFile) -> None:
        add_member(archive, "../../etc/link.avro", type=kind, linkname="/etc/passwd")
        add_member(archive, "folder.avro", type=tarfile.DIRTYPE)
        add_member(archive, "readme.txt", b"no alert")
        add_member(archive, "/absolute.avro", VALUES[0])

    path = write_tarball(tmp_path / "night.tar.gz", VALUES[:2], then)
    before = set(tmp_path.rglob("*"))
    (batch,) = read(path)
    assert batch.values == [*VALUES[:2], b"", VALUES[0]]
    assert refusals([batch]) == {f"{path}/../../etc/link.avro": reason}
    # Whatever members are called, nothing is written.
    assert set(tmp_path.rglob("*")) == before


def test_a_member_that_is_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarball_module, "MAX_PACKET_BYTES", 1000)
    path = write_tarball(tmp_path / "n.tgz", [b"a", bytes(1001), b"b"])
    (batch,) = read(path)
    assert batch.values == [b"a", b"", b"b"]
    assert refusals([batch]) == {f"{path}/night/000001.avro": "too_large"}


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_PACKET_BYTES", 1000)
    path = tmp_path / "a.avro"
    path.write_bytes(bytes(1001))
    (batch,) = read(path)
    assert (batch.values, refusals([batch])) == ([b""], {str(path): "too_large"})


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _header_damaged(data: bytes) -> bytes:
    # The header of the second member: 512 + 1024 bytes behind the first.
    at = data.index(b"night/000001.avro")
    return data[:at] + b"\xff" * 200 + data[at + 200 :]


def _no_end(data: bytes) -> bytes:
    return data[: 5 * (512 + 1024)]


def _two_in_one(data: bytes) -> bytes:
    return data + data


def _negative(data: bytes) -> bytes:
    at = data.index(b"night/000001.avro")
    header = bytearray(data[at : at + 512])
    header[124:136] = b"\xff" * 12
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("damage", "readable"),
    [
        *[(_truncated, 1), (_header_damaged, 1), (_no_end, 5)],
        *[(_two_in_one, 5), (_negative, 1), (lambda data: b"", 0), (lambda data: b"x" * 999, 0)],
    ],
)
def test_damage_is_one_dead_letter_and_what_came_before_is_read(
    tmp_path: Path, damage: Callable[[bytes], bytes], readable: int, zipped: bool
) -> None:
    values = [bytes([65 + i]) * 1000 for i in range(5)]
    data = damage(write_tarball(tmp_path / "whole.tar", values).read_bytes())
    path = tmp_path / ("night.tar.gz" if zipped else "night.tar")
    path.write_bytes(gzip.compress(data) if zipped else data)
    if damage is _truncated:
        readable = len(data) // 1536
    (batch,) = read(path)
    assert batch.values == [*values[:readable], b""]
    assert refusals([batch]) == {str(path): "corrupt_archive"}
    # Read again from there, it is not refused twice.
    assert ArchiveSource.over(plan([path]), readable + 1).poll(10, 0.0) is None


def test_a_zip_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = write_tarball(tmp_path / "night.tar.gz", VALUES)
    path.write_bytes(path.read_bytes()[:-2000])
    batches = read(path)
    assert refusals(batches) == {str(path): "corrupt_archive"}
    assert batches[0].values[0] == VALUES[0]


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball_module, "_FREE_BYTES", 2**20)
    bomb = write_tarball(tmp_path / "bomb.tar.gz", [b"x", bytes(64 * 2**20), b"y"])
    (batch,) = read(bomb)
    assert batch.values[0] == b"x"
    assert refusals([batch]) == {str(bomb): "corrupt_archive"}


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    def then(archive: tarfile.TarFile) -> None:
        add_member(archive, "pax", bytes(4 * 2**20), type=tarfile.XHDTYPE)

    path = write_tarball(tmp_path / "night.tar.gz", [b"x"], then)
    (batch,) = read(path)
    assert batch.values == [b"x", b""]
    assert "header of" in batch.refused[1].error


def test_names_that_are_not_utf8_are_shown(tmp_path: Path) -> None:
    path = write_tarball(
        tmp_path / "n.tar", [], lambda archive: add_member(archive, "bad\udcff.avro", b"x")
    )
    (batch,) = read(path)
    assert batch.topic == [f"{path}/bad\\xff.avro"]


# Parquet -------------------------------------------------------------------------------------


def fink_table(copies: int = 1) -> pa.Table:
    """Return a table as Fink writes it: nested columns, cutouts and columns of its own."""
    rows = nested_rows(ZTF[0])
    table = pa.Table.from_batches([rows] * copies)
    return table.append_column("cdsxmatch", pa.array(["Unknown"] * len(table)))


def test_nested_rows_are_read_without_what_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "fink.parquet"
    pq.write_table(fink_table(7), path, row_group_size=3)
    (part,) = plan([path])
    assert part.form is Form.ROWS
    assert {leaf.split(".")[0] for leaf in part.columns} == {
        *["objectId", "candid", "candidate", "prv_candidates", "fp_hists"]
    }
    assert "candidate.ssdistnr" in part.columns
    assert not any("cutout" in leaf or leaf.endswith(".ra") for leaf in part.columns)
    batches = read(path, size=2)
    assert [len(b) for b in batches] == [2, 1, 2, 1, 1]
    assert [int(o) for b in batches for o in b.offset] == list(range(7))
    packet = Decoder().decode(message_batch(VALUES[:1]))
    for row in range(2):
        rows = batches[0].rows
        assert rows is not None
        assert same(NestedDecoder().decode(rows.slice(row, 1)), packet)


def test_lsst_rows_are_recognised_too(tmp_path: Path) -> None:
    path = next((ALERTS / "lsst" / "10.0").rglob("*.avro"))
    table = pa.Table.from_batches([nested_rows(path)])
    pq.write_table(table, tmp_path / "lsst.parquet")
    (batch,) = read(tmp_path / "lsst.parquet")
    assert batch.rows is not None
    nested = NestedDecoder().decode(batch.rows)
    assert same(nested, Decoder().decode(message_batch([path.read_bytes()])))
    assert len(nested) == 7


def test_row_groups_are_cut_into_parts_and_keep_their_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    pq.write_table(pa.table({"b": [b"%d" % i for i in range(10)]}), path, row_group_size=2)
    parts = plan([path], max_messages=4)
    assert [part.row_groups for part in parts] == [(0, 1), (2, 3), (4,)]
    assert [part.first_row for part in parts] == [0, 4, 8]
    batch = ArchiveSource.over(parts[1:2], start=3).poll(10, 0.0)
    assert batch is not None
    assert (batch.values, batch.offset.tolist()) == ([b"7"], [7])


def test_batches_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_BATCH_BYTES", 40_000)
    values = [bytes([i]) * 10_000 for i in range(20)]
    pq.write_table(pa.table({"b": values}), tmp_path / "n.parquet", use_dictionary=False)
    write_tarball(tmp_path / "n.tar", values)
    for batches in (read(tmp_path / "n.parquet"), read(tmp_path / "n.tar")):
        assert [v for b in batches for v in b.values] == values
        assert max(map(len, batches)) <= 5


@pytest.mark.parametrize("column", ["value", "payload", "other"])
def test_the_column_of_the_packets_is_found(tmp_path: Path, column: str) -> None:
    columns: dict[str, Any] = {"id": [1], column: [VALUES[0]]}
    if column == "value":
        columns["key"] = [b"key"]
    pq.write_table(pa.table(columns), tmp_path / "n.parquet")
    (batch,) = read(tmp_path / "n.parquet")
    assert batch.values == VALUES[:1]


@pytest.mark.parametrize("columns", [{"a": [1]}, {"a": [b"x"], "b": [b"y"]}])
def test_parquet_without_alerts_is_a_clear_error(tmp_path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "n.parquet")
    with pytest.raises(ConfigurationError, match="holds no alerts"):
        ArchiveSource([tmp_path])


def test_a_file_that_is_no_parquet_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "n.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(ConfigurationError, match=r"n\.parquet as Parquet"):
        ArchiveSource([tmp_path])


def test_damaged_pages_are_one_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    values = [bytes([i]) * 1000 for i in range(8)]
    pq.write_table(
        pa.table({"b": values}), path, row_group_size=4, compression="zstd", use_dictionary=False
    )
    second = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[second : second + 40] = bytes(40)
    path.write_bytes(data)
    batches = read(path)
    assert [v for b in batches for v in b.values] == [*values[:4], b""]
    assert refusals(batches) == {str(path): "corrupt_archive"}
    assert ArchiveSource.over(plan([path]), 5).poll(10, 0.0) is None


# Containers ----------------------------------------------------------------------------------


def test_a_container_with_hundreds_of_records_is_read_whole(tmp_path: Path) -> None:
    schema, records = records_of(ZTF[0])
    many = [{**records[0], "candid": i} for i in range(700)]
    with (tmp_path / "many.avro").open("wb") as file:
        fastavro.writer(file, {**schema, "name": "topLevelRecord"}, many, codec="snappy")
    (batch,) = read(tmp_path / "many.avro")
    alerts = Decoder().decode(batch)
    assert alerts.alert_id.tolist() == list(range(700))
    assert len(alerts.refused) == 0
