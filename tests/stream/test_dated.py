from __future__ import annotations

import re
import time
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from stream.librdkafka import KafkaOptions, open_producer
from stream.metrics import Metrics
from stream.sources.dated import DatedKafkaSource
from stream.sources.night import nights_between, topics_of, window_of
from tests.noida import Noida

NOON = 1_795_392_000_000 + 43_200_000
"""2026-11-23T12:00 UTC."""
DAY = 86_400_000


def test_the_window_moves_at_midnight() -> None:
    assert window_of(NOON, 3) == ["20261121", "20261122", "20261123", "20261124"]
    assert window_of(NOON + DAY // 2 - 1, 1) == ["20261123", "20261124"]
    assert window_of(NOON + DAY // 2, 1) == ["20261124", "20261125"]


def test_nights_are_bounded() -> None:
    assert nights_between(NOON, NOON) == ["20261123"]
    assert len(nights_between(0, NOON)) == 400


@pytest.mark.parametrize(
    ("topic", "matches", "does_not"),
    [
        ("ztf_{night}_programid1", "ztf_20261123_programid1", "ztf_20261120_programid1"),
        ("a.b_{night}", "a.b_20261123", "aXb_20261123"),
        ("^ztf_{night}_programid[12]$", "ztf_20261123_programid2", "ztf_20261123_programid3"),
    ],
)
def test_patterns(topic: str, matches: str, does_not: str) -> None:
    (pattern,) = topics_of([topic], ["20261123", "20261124"])
    assert re.match(pattern, matches)
    assert not re.match(pattern, does_not)
    assert not re.match(pattern, f"x{matches}")


def test_other_topics_stay_as_they_are() -> None:
    assert topics_of(["lsst", "^a.*"], ["20261123"]) == ["lsst", "^a.*"]


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOON

    def __call__(self) -> int:
        return self.now_ms


def test_expired_and_missing_topics_do_not_starve_the_live_one(noida: Noida) -> None:
    """Over midnight: tonight's topic comes into being late, an old one is deleted."""
    prefix = f"t{uuid4().hex[:6]}"
    clock = Clock()
    options = KafkaOptions(
        noida.bootstrap_servers,
        prefix,
        client={"topic.metadata.refresh.interval.ms": 500},
        consumer={"partition.assignment.strategy": "range", "session.timeout.ms": 6000},
    )
    night = {day: f"{prefix}_{day}_p" for day in range(20261120, 20261128)}
    noida.create_topics([night[20261120], night[20261122], night[20261123]])
    producer = open_producer(KafkaOptions(noida.bootstrap_servers))
    source = DatedKafkaSource(options, [f"{prefix}_{{night}}_p"], 2, Metrics(), clock)
    seen: set[str] = set()

    def read(expected: set[str]) -> None:
        deadline = time.monotonic() + 120
        while not expected <= seen:
            assert time.monotonic() < deadline, (expected, seen)
            batch = source.poll(10, 0.3)
            assert batch is not None
            seen.update(v.decode() for v in batch.values)
            assert source.commit(batch, 30.0)

    def produce(day: int, value: str) -> None:
        producer.produce(night[day], value.encode())
        assert producer.flush(30) == 0

    produce(20261120, "too old")
    produce(20261122, "last night")
    produce(20261123, "tonight")
    read({"last night", "tonight"})
    admin = AdminClient({"bootstrap.servers": noida.bootstrap_servers})
    for future in admin.delete_topics([night[20261122]]).values():
        future.result()
    produce(20261123, "after the deletion")
    read({"after the deletion"})
    noida.create_topics([night[20261124]])
    produce(20261124, "early")
    read({"early"})
    clock.now_ms += DAY
    produce(20261123, "late")
    produce(20261124, "next night")
    read({"late", "next night"})
    clock.now_ms += DAY
    noida.create_topics([night[20261125]])
    produce(20261125, "the night after")
    read({"the night after"})
    produce(20261123, "out of the window")
    produce(20261124, "in the window")
    read({"in the window"})
    for _ in range(5):
        batch = source.poll(10, 0.2)
        assert batch is not None
        seen.update(v.decode() for v in batch.values)
    source.close()
    assert not {"too old", "out of the window"} & seen
