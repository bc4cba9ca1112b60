from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import Consumer, TopicPartition

from models.errors import ConfigurationError
from stream.alerts import MessageBatch
from stream.librdkafka import KafkaOptions, open_producer
from stream.metrics import Metrics
from stream.sources.window import TimeWindow, WindowSource
from tests.brokers import fresh_name
from tests.noida import Noida

T0 = (int(time.time()) - 7200) * 1000
"""Messages are appended at T0, T0 + 1000, ...; not so old that the broker forgets them."""


def filled(broker: Noida, name: str, n: int = 20, partitions: int = 2) -> str:
    broker.create_topics([name], partitions)
    producer = open_producer(KafkaOptions(broker.bootstrap_servers))
    for i in range(n):
        producer.produce(name, str(i).encode(), partition=i % partitions, timestamp=T0 + 1000 * i)
    assert producer.flush(60) == 0
    return name


def source_of(
    broker: Noida, topics: Sequence[str], window: TimeWindow, group: str = "production"
) -> WindowSource:
    return WindowSource(KafkaOptions(broker.bootstrap_servers, group), topics, window, Metrics())


def read(source: WindowSource, most: int = 1000, size: int = 7) -> list[int]:
    """Return the values until the source ends, or until there are ``most``."""
    values: list[int] = []
    deadline = time.monotonic() + 90
    while len(values) < most:
        assert time.monotonic() < deadline, values
        batch = source.poll(size, 0.3)
        if batch is None:
            break
        values += _values(batch)
        assert source.commit(batch, 30.0)
    source.close()
    return sorted(values)


def _values(batch: MessageBatch) -> list[int]:
    return [int(value) for value in batch.values]


@pytest.mark.parametrize(
    ("from_s", "until_s", "first", "last"),
    [(5, 12, 5, 12), (4.5, 11.5, 5, 12), (None, 3, 0, 3), (15, None, 15, 20), (15, 99, 15, 20)],
)
def test_a_window_is_read_and_ends(
    noida: Noida, from_s: float | None, until_s: float | None, first: int, last: int
) -> None:
    topic = filled(noida, fresh_name("window"))
    window = TimeWindow(*(None if s is None else T0 + int(1000 * s) for s in (from_s, until_s)))
    assert read(source_of(noida, [topic], window)) == list(range(first, last))


def test_nothing_in_the_window_ends_at_once(noida: Noida) -> None:
    topic = filled(noida, fresh_name("window"))
    assert read(source_of(noida, [topic], TimeWindow(T0 + 90_000, T0 + 99_000))) == []


def test_it_goes_on_in_a_group_of_its_own(noida: Noida) -> None:
    topic = filled(noida, fresh_name("window"))
    group = fresh_name("production")
    window = TimeWindow(T0, T0 + 16_000)
    some = read(source_of(noida, [topic], window, group), most=4, size=4)
    rest = read(source_of(noida, [topic], window, group))
    assert sorted(some + rest) == list(range(16))
    assert len(some) < 16
    assert _committed(noida, group, topic) == [-1001, -1001]
    assert sum(_committed(noida, window.options(KafkaOptions("", group)).group_id, topic)) == 16


def test_messages_that_are_rewound_come_again(noida: Noida) -> None:
    topic = filled(noida, fresh_name("window"))
    source = source_of(noida, [topic], TimeWindow(T0 + 10_000, T0 + 20_000))
    batch = None
    seen: list[int] = []
    deadline = time.monotonic() + 60
    while len(seen) < 10 and time.monotonic() < deadline:
        batch = source.poll(100, 0.5)
        assert batch is not None
        seen += _values(batch)
        if len(batch):
            source.rewind(batch)
            break
    assert seen
    assert read(source) == list(range(10, 20))


def test_ends_that_were_met_before_a_rewind_do_not_count(noida: Noida) -> None:
    topic = filled(noida, fresh_name("window"))
    source = source_of(noida, [topic], TimeWindow(T0 + 10_000, T0 + 20_000))
    deadline = time.monotonic() + 60
    batch: MessageBatch | None = None
    while batch is None or not len(batch):
        assert time.monotonic() < deadline
        batch = source.poll(5, 0.5)
    # As where the ends are met while the input is paused.
    source._reached.update({(topic, p): 10 for p in range(2)})
    source.rewind(batch)
    assert read(source) == list(range(10, 20))


def test_dated_topics_are_those_of_the_window(noida: Noida) -> None:
    prefix = fresh_name("ztf")
    nights = [time.strftime("%Y%m%d", time.gmtime(T0 / 1000 + 86_400 * d)) for d in range(-2, 2)]
    for night in nights:
        filled(noida, f"{prefix}_{night}_programid1", n=4)
    window = TimeWindow(T0 - 86_400_000, T0 + 2000)
    source = source_of(noida, [prefix + "_{night}_programid1"], window)
    assert read(source) == [0, 0, 1, 1], "of two nights"


@pytest.mark.parametrize(
    ("topics", "window", "says"),
    [
        (["no-such-topic"], TimeWindow(T0), "none of the topics exists: no-such-topic"),
        (["^no-such"], TimeWindow(T0), "none of the topics exists"),
        (["a_{night}"], TimeWindow(None, T0), "need --from TIME"),
    ],
)
def test_mistakes(noida: Noida, topics: list[str], window: TimeWindow, says: str) -> None:
    source = source_of(noida, topics, window)
    with pytest.raises(ConfigurationError, match=says):
        source.poll(1, 0.1)
    source.close()


def test_a_replay_works_under_no_name_of_production() -> None:
    production = KafkaOptions("", "tinyt2", "tinyt2-0", "tinyt2-tinyt2-0")
    names = set()
    for window in (TimeWindow(5, 6), TimeWindow(5, 7)):
        replay = window.options(production)
        assert replay.group_instance_id is None
        assert replay.transactional_id not in (None, production.transactional_id)
        names |= {replay.group_id, replay.transactional_id}
    assert len(names) == 4
    assert TimeWindow(5, 6).options(KafkaOptions("")).transactional_id is None


def test_a_window_has_an_order() -> None:
    with pytest.raises(ConfigurationError, match="--until is not later than --from"):
        TimeWindow(5, 5)


def _committed(broker: Noida, group: str, topic: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    places = [TopicPartition(topic, p) for p in range(2)]
    offsets = [place.offset for place in consumer.committed(places, timeout=30)]
    consumer.close()
    return offsets
