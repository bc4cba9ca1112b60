"""Transactions that are refused or interrupted: aborted, read again, or a clear end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.faults import (
    END_TRANSACTION,
    OFFSETS_IN_TRANSACTION,
    MockCluster,
    transactional_broker,
    wait_until,
)
from tests.streams import Follower, Stream, light_packets, metric, samples

EXACTLY_ONCE = {
    "KAFKA__DELIVERY": "exactly-once",
    "KAFKA__GROUP_INSTANCE_ID": "one",
    "BATCH__MAX_MESSAGES": "16",
}

pytestmark = pytest.mark.skipif(
    "TINYT2_KAFKA" in os.environ, reason="breaks brokers: only those it starts itself"
)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(brokers=3) as mock:
        yield mock


@pytest.mark.parametrize(
    "error",
    [KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION],
    ids=["unknown member", "old generation"],
)
def test_an_aborted_transaction_is_read_again(
    cluster: MockCluster, tmp_path: Path, error: int
) -> None:
    stream = Stream(cluster)
    with Follower(stream) as follower, stream.serve(tmp_path / "log", EXACTLY_ONCE) as service:
        service.wait_for_event("partitions assigned")
        cluster.fail(OFFSETS_IN_TRANSACTION, [error] * 2)
        stream.produce(light_packets(), 300)
        # The mock cluster shows aborted records, too: what counts are the offsets.
        follower.wait_for(300, 120)
        accounts = service.stop()
    follower.check_complete()
    assert accounts.messages_released > 0
    assert accounts.messages_consumed == 300 + accounts.messages_released
    assert follower.n_repeated <= accounts.messages_released


@pytest.mark.parametrize(
    "errors",
    [[KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR]],
)
def test_an_end_that_may_be_repeated_is(
    cluster: MockCluster, tmp_path: Path, errors: list[int]
) -> None:
    stream = Stream(cluster)
    with Follower(stream) as follower, stream.serve(tmp_path / "log", EXACTLY_ONCE) as service:
        service.wait_for_event("partitions assigned")
        cluster.fail(END_TRANSACTION, errors)
        stream.produce(light_packets(), 200)
        follower.wait_for(200, 120)
        assert service.stop().messages_released == 0
    follower.check_complete()
    assert follower.n_repeated == 0


def test_the_lag_ends_with_the_messages(cluster: MockCluster, tmp_path: Path) -> None:
    """The client, whose figures lag is told from, does not see what a transaction commits."""
    stream = Stream(cluster)
    with stream.serve(tmp_path / "log", EXACTLY_ONCE) as service:
        service.wait_for_event("partitions assigned")
        stream.produce(light_packets(), 100)
        wait_until(lambda: metric(service, "tinyt2_messages_consumed_total") == 100, "all read")
        wait_until(lambda: metric(service, "tinyt2_in_flight_messages") == 0, "all committed")
        for unit in ("messages", "seconds"):
            lag = f"tinyt2_consumer_lag_{unit}"
            wait_until(lambda lag=lag: samples(service, lag) == [0.0, 0.0], f"end of {lag}")
        service.stop()


def test_a_fenced_producer_ends_the_service(cluster: MockCluster, tmp_path: Path) -> None:
    stream = Stream(cluster)
    with stream.serve(tmp_path / "log", EXACTLY_ONCE) as service:
        service.wait_for_event("partitions assigned")
        cluster.fail(END_TRANSACTION, [KafkaError.PRODUCER_FENCED])
        stream.produce(light_packets(), 100)
        assert service.process.wait(60) == 1
        assert f"another process works as '{stream.name}-one' and takes over" in service.tail()
        assert "Traceback" not in service.tail()


def test_a_dead_letter_too_large_for_its_topic_is_sent_without_its_bytes(tmp_path: Path) -> None:
    # Of chance, so that compression does not make it small.
    large_value = np.random.default_rng(4).bytes(2_100_000)
    with transactional_broker(tmp_path) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        stream = Stream(broker)
        large = NewTopic(f"{stream.name}-large", 1, config={"max.message.bytes": "5000000"})
        admin.create_topics([large])[large.topic].result()
        settings = {**EXACTLY_ONCE, "KAFKA__TOPICS": f'["{large.topic}"]'}
        with stream.serve(tmp_path / "log", settings) as service:
            service.wait_for_event("partitions assigned")
            stream.produce_one(large.topic, large_value)
            stream.produce_one(large.topic, b"rubbish")
            service.wait_for(
                "dead letters", lambda: metric(service, "tinyt2_dead_letters_total") == 2 or None
            )
            accounts = service.stop()
        letters = {message.value() or b"": message for message in stream.dead_letters()}
    assert set(letters) == {b"", b"rubbish"}
    assert dict(letters[b""].headers() or [])["payload_omitted_bytes"] == b"2100000"
    assert accounts.messages_released > 0
