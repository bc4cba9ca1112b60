"""Real packets, damaged: every message has one outcome, nothing crashes, nothing hangs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.runtime import OnnxClassifier
from stream.avro.schemas import open_schemas
from stream.decode import Decoder
from stream.metrics import Metrics
from stream.pipeline import Pipeline
from stream.service import BatchLimits, Service
from stream.sinks.memory import MemorySink
from stream.sources.memory import MemorySource

KINDS = ("truncated", "bits flipped", "wrong survey", "wrong schema id", "spliced")
SLOWEST_BATCH_S = 60.0


def mutated(packets: list[bytes], n: int, seed: int) -> Iterator[bytes]:
    """Yield n damaged packets, one kind after another."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        packet = packets[rng.integers(len(packets))]
        yield _damaged(packet, packets, KINDS[i % len(KINDS)], rng)


def _damaged(packet: bytes, packets: list[bytes], kind: str, rng: np.random.Generator) -> bytes:
    if kind == "truncated":
        return packet[: rng.integers(len(packet))]
    if kind == "bits flipped":
        damaged = bytearray(packet)
        # Half of them where the framing and the schema are.
        end = len(packet) if rng.random() < 0.5 else min(len(packet), 4000)
        for at in rng.integers(0, end, rng.integers(1, 9)):
            damaged[at] ^= 1 << int(rng.integers(8))
        return bytes(damaged)
    if kind == "wrong survey":
        names = (b"magpsf", b"fid", b"diaSource", b"candidate", b"psfFlux", b"objectId")
        name = names[rng.integers(len(names))]
        return packet.replace(name, name[::-1])
    if kind == "wrong schema id":
        schema_id = int(rng.choice([0, 1, 700, 701, 900, 1000, 1101, 999_999, 2**32 - 1]))
        return b"\0" + schema_id.to_bytes(4, "big") + packet[5:]
    other = packets[rng.integers(len(packets))]
    return packet[: rng.integers(len(packet))] + other[rng.integers(len(other)) :]


class Slowest:
    """Remembers how long the slowest batch took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = time.monotonic()

    def __call__(self, outcomes: object) -> None:
        now = time.monotonic()
        self.seconds = max(self.seconds, now - self._last)
        self._last = now


class LazySource(MemorySource):
    """Makes its messages when they are read: a hundred thousand do not fit into memory."""

    def __init__(self, values: Iterator[bytes], n: int) -> None:
        super().__init__([])
        self._left = n
        self._lazy = values

    def poll(self, max_messages: int, wait_s: float):  # type: ignore[no-untyped-def]
        n = min(max_messages, self._left)
        self._left -= n
        self._values, self._next = [next(self._lazy) for _ in range(n)], 0
        return super().poll(max_messages, wait_s)


def survive(classifier: OnnxClassifier, alerts_dir: Path, n: int, seed: int) -> Counter[str]:
    packets = [
        path.read_bytes()
        for folder in ("ztf", "lsst", "odd", "made_up")
        for path in sorted((alerts_dir / folder).rglob("*.avro"))
    ]
    slowest = Slowest()
    service = Service(
        LazySource(mutated(packets, n, seed), n),
        Pipeline(Decoder(open_schemas()), classifier, Metrics()),
        _Forgetful(),
        Metrics(),
        BatchLimits(512, 0.01),
        on_batch=slowest,
    )
    accounting = service.run()
    assert accounting.messages_consumed == n
    assert accounting.messages_decoded + accounting.dead_letters.total() == n
    assert accounting.alerts_classified + accounting.not_classified.total() == (
        accounting.alerts_decoded
    )
    assert accounting.messages_in_flight == 0
    assert accounting.dead_letters.total() > n / 2
    assert slowest.seconds < SLOWEST_BATCH_S
    return accounting.dead_letters + Counter(decoded=accounting.messages_decoded)


class _Forgetful(MemorySink):
    """Encodes nothing and keeps nothing."""

    def write(self, outcomes) -> None:  # type: ignore[no-untyped-def]
        pass


def test_some_thousand_mutated_packets(classifier: OnnxClassifier, alerts_dir: Path) -> None:
    counts = survive(classifier, alerts_dir, 4_000, seed=1)
    assert {"corrupt_body", "corrupt_container", "unknown_schema_id", "decoded"} <= set(counts)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_mutated_packets(classifier: OnnxClassifier, alerts_dir: Path) -> None:
    start = time.monotonic()
    counts = survive(classifier, alerts_dir, 100_000, seed=2)
    print(f"\n100,000 mutated packets in {time.monotonic() - start:.0f} s: {dict(counts)}")


@pytest.mark.parametrize(
    "poison",
    [b"", b"\0", b"\0\0\0\x04\x4d" + b"\xff" * 40, b"Obj\x01\xff", b"<html>", bytes(10**6)],
)
def test_a_poison_packet_costs_nobody_else(
    classifier: OnnxClassifier, alerts_dir: Path, poison: bytes
) -> None:
    good = next(
        path.read_bytes()
        for path in sorted((alerts_dir / "ztf").rglob("*.avro"))
        if _is_classified(classifier, path.read_bytes())
    )
    for row in (0, 255, 511):
        values = [good] * 512
        values[row] = poison
        service = Service(
            MemorySource(values),
            Pipeline(Decoder(open_schemas()), classifier, Metrics()),
            MemorySink(),
            Metrics(),
            BatchLimits(512, 0.01),
        )
        accounting = service.run()
        assert accounting.alerts_classified == 511
        assert accounting.dead_letters.total() == 1


def _is_classified(classifier: OnnxClassifier, value: bytes) -> bool:
    service = Service(
        MemorySource([value]),
        Pipeline(Decoder(open_schemas()), classifier, Metrics()),
        MemorySink(),
        Metrics(),
    )
    return service.run().alerts_classified == 1
