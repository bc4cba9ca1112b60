"""What a hostile sender, file or model can do, and what an operator's secrets can meet.

Bombs of tarballs, deflate and snappy containers are in `tests/stream`.
"""

from __future__ import annotations

import ast
import io
import resource
from collections.abc import Iterator
from pathlib import Path

import fastavro
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx.external_data_helper import set_external_data

from deploy.settings import Settings
from models.bundle import DEPLOYED_MODEL, load_bundle
from models.errors import BundleError
from models.runtime import load_classifier
from stream.alerts import RefusedReason
from stream.decode import Decoder
from stream.sources.archive import ArchiveSource
from stream.sources.memory import message_batch
from tests.avro_bytes import long_bytes
from tests.models.test_bundle import resign
from tests.packets import ZTF, container, ztf_record

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "stream", "compress", "deploy")
MB = 2**20


def calls(room: str) -> Iterator[tuple[Path, ast.Call, str]]:
    """Yield every call of a room with the dotted name that is called."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def says(call: ast.Call, name: str, value: object) -> bool:
    return any(
        k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is value
        for k in call.keywords
    )


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_unpickled(room: str) -> None:
    for path, call, name in calls(room):
        where = f"{path}:{call.lineno}"
        if name.endswith("torch.load"):
            assert says(call, "weights_only", True), where
        if name in ("np.load", "numpy.load"):
            # numpy's own default is False.
            given = any(k.arg in ("allow_pickle", None) for k in call.keywords)
            assert not given or says(call, "allow_pickle", False), where
        assert not name.endswith(("read_pickle", "joblib.load", "marshal.loads")), where
        assert name not in ("eval", "exec"), where
        assert "register_custom_ops_library" not in name, where
        assert not says(call, "shell", True), where


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_imports_a_module_that_unpickles(room: str) -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            else:
                continue
            assert not names & forbidden, f"{path}:{node.lineno}"


def test_archives_are_never_unpacked_to_disk() -> None:
    for path, _, name in calls("stream"):
        assert not name.endswith((".extract", ".extractall", "unpack_archive")), path


def test_http_is_for_this_machine_unless_told_otherwise() -> None:
    assert Settings().http.host == "127.0.0.1"


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    for name in ("model.onnx", "card.json"):
        (tmp_path / name).write_bytes((DEPLOYED_MODEL.parent / name).read_bytes())
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_weights_in_another_file_are_refused(
    bundle_copy: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle_copy.parent)
    proto = onnx.load(bundle_copy)
    tensor = max(proto.graph.initializer, key=lambda t: len(t.raw_data))
    (bundle_copy.parent / "weights.bin").write_bytes(tensor.raw_data)
    set_external_data(tensor, location, 0, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    resign(bundle_copy, proto.SerializeToString())
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        load_bundle(bundle_copy)


def test_operators_of_a_library_are_refused(bundle_copy: Path) -> None:
    proto = onnx.load(bundle_copy)
    proto.graph.node[0].domain = "example.org"
    proto.opset_import.add(domain="example.org", version=1)
    resign(bundle_copy, proto.SerializeToString())
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(("name", "size"), [("model.onnx", 65 * MB), ("card.json", 5 * MB)])
def test_files_of_a_bundle_have_a_size_limit(bundle_copy: Path, name: str, size: int) -> None:
    with (bundle_copy.parent / name).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(BundleError, match="is larger than"):
        load_bundle(bundle_copy)


def test_a_model_that_is_no_model(bundle_copy: Path) -> None:
    rng = np.random.default_rng(0)
    whole = bundle_copy.read_bytes()
    for _ in range(20):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 20):
            damaged[at] ^= 1 << rng.integers(0, 8)
        resign(bundle_copy, bytes(damaged))
        try:
            load_classifier(bundle_copy)
        except BundleError:
            continue


@pytest.mark.parametrize("codec", ["deflate", "snappy", "zstandard", "bzip2", "xz"])
def test_avro_bombs(codec: str) -> None:
    """Some kilobytes that unfold to 64 MB, in an alert that is read otherwise."""
    whole = _alert(b"x", "null")
    assert len(Decoder().decode(message_batch([whole]))) == 1
    bomb = _alert(bytes(64 * MB), codec)
    assert len(bomb) < 4 * MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = Decoder().decode(message_batch([bomb])).refused
    assert refused.reason == [RefusedReason.CORRUPT_CONTAINER]
    assert (
        "unfolds to more" in refused.error[0]
        or "more than" in refused.error[0]
        or codec
        not in (
            "deflate",
            "snappy",
        )
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


def _alert(rest: bytes, codec: str) -> bytes:
    """Return a ZTF packet with one more field; codecs that fastavro lacks are only named."""
    fields = [*ZTF["fields"], {"name": "rest", "type": "bytes"}]
    body = ztf_record(1) + long_bytes(len(rest)) + rest
    plain = container({**ZTF, "fields": fields}, [body])
    record = next(iter(fastavro.reader(io.BytesIO(plain))))
    known = codec if codec in ("null", "deflate", "snappy") else "deflate"
    out = io.BytesIO()
    fastavro.writer(
        out, {**ZTF, "fields": fields}, [record], codec=known, codec_compression_level=9
    )
    name = long_bytes(len(codec)) + codec.encode()
    return out.getvalue().replace(long_bytes(len(known)) + known.encode(), name, 1)


def test_a_packet_that_parquet_repeats_counts_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.sources.parquet._REPEATED_BYTES", MB)
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"value": pa.array([bytes(64 * 1024)] * 500)}), path)
    assert path.stat().st_size < 10_000
    source = ArchiveSource([path])
    sizes = []
    for _ in range(3):
        batch = source.poll(512, 0.0)
        assert batch is not None
        sizes.append(len(batch))
    source.close()
    assert sizes == [16, 16, 16]


def test_parquet_that_unfolds_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.sources.parquet._FREE_BYTES", MB)
    path = tmp_path / "bomb.parquet"
    table = pa.table({"value": pa.array([bytes(8 * MB)])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    batch = ArchiveSource([path]).poll(512, 0.0)
    assert batch is not None
    assert batch.values == [b""]
    assert batch.refused[0].reason is RefusedReason.CORRUPT_ARCHIVE
    assert "unfolds from" in batch.refused[0].error


def test_ordinary_parquet_is_read_in_full_batches(tmp_path: Path) -> None:
    values = [bytes([i % 251]) * 20_000 for i in range(1100)]
    path = tmp_path / "night.parquet"
    pq.write_table(pa.table({"value": pa.array(values)}), path, compression="none")
    source = ArchiveSource([path])
    read: list[bytes] = []
    sizes = []
    while (batch := source.poll(512, 0.0)) is not None:
        read += batch.values
        sizes.append(len(batch))
    assert read == values
    assert sizes[0] == 512
