"""Brokers that go down, forget or refuse: the service waits, recovers alone and loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from deploy.bench.alerts import messages
from deploy.bench.processes import footprint
from deploy.serving import Serve
from tests.faults import (
    HEARTBEAT,
    OFFSET_COMMIT,
    PRODUCE,
    MockCluster,
    durable_broker,
    wait_until,
)
from tests.streams import Feeder, Follower, Stream, light_packets, metric

BATCH = 64
RATE = 200
SETTINGS = {"BATCH__MAX_MESSAGES": str(BATCH)}
EXACTLY_ONCE = {"KAFKA__DELIVERY": "exactly-once", "KAFKA__GROUP_INSTANCE_ID": "one"}
QUICK_METADATA = {"KAFKA__CLIENT__TOPIC_METADATA_REFRESH_INTERVAL_MS": "1000"}
RECONNECTS_SOON = {"KAFKA__CLIENT__RECONNECT_BACKOFF_MAX_MS": "1000"}
"""Well within a session: else a broker that restarts twice may be found again too late."""
MAX_POLL_S = 6
OUTPUT_BROKER = 3

pytestmark = pytest.mark.skipif(
    "TINYT2_KAFKA" in os.environ, reason="breaks brokers: only those it starts itself"
)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(brokers=3) as mock:
        yield mock


def _restarts(cluster: MockCluster, stream: Stream, rounds: int) -> None:
    """Take down one broker after another, then all of them."""
    for i in range(rounds):
        down = [cluster.brokers[i % 3]] if i % 4 < 3 else list(cluster.brokers)
        for broker in down:
            cluster.stop(broker)
        time.sleep(2)
        for broker in down:
            cluster.start(broker)
        time.sleep(1)


def _errors(cluster: MockCluster, stream: Stream, rounds: int) -> None:
    """Answer writes and commits with what may be tried again."""
    for _ in range(rounds):
        cluster.fail(
            PRODUCE,
            [
                KafkaError.NOT_LEADER_FOR_PARTITION,
                KafkaError.NOT_ENOUGH_REPLICAS,
                KafkaError.REQUEST_TIMED_OUT,
                KafkaError.LEADER_NOT_AVAILABLE,
                KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ],
        )
        cluster.fail(
            OFFSET_COMMIT,
            [
                KafkaError.COORDINATOR_NOT_AVAILABLE,
                KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
                KafkaError.NOT_COORDINATOR,
                KafkaError.REBALANCE_IN_PROGRESS,
                KafkaError.REQUEST_TIMED_OUT,
            ],
        )
        time.sleep(2)


def _coordinators(cluster: MockCluster, stream: Stream, rounds: int) -> None:
    """Move the coordinator of the group, and take it down."""
    for i in range(rounds):
        broker = cluster.brokers[i % 3]
        cluster.set_coordinator(stream.name, broker)
        time.sleep(1)
        cluster.stop(broker)
        time.sleep(1)
        cluster.start(broker)
        time.sleep(1)


def _sessions(cluster: MockCluster, stream: Stream, rounds: int) -> None:
    """Tell the member that its session has expired and its partitions are lost."""
    for _ in range(rounds):
        cluster.fail(HEARTBEAT, [KafkaError.UNKNOWN_MEMBER_ID])
        # Some 10 s: the cluster waits for the old member until its session ends.
        time.sleep(2)
        sent = stream.n_sent
        wait_until(lambda sent=sent: stream.committed() >= sent, "return to work", 120)


FAULTS = {
    "restarts": _restarts,
    "errors": _errors,
    "coordinators": _coordinators,
    "sessions": _sessions,
}


def _survive(cluster: MockCluster, folder: Path, fault: str, rounds: int) -> None:
    stream, settings = Stream(cluster), SETTINGS | RECONNECTS_SOON
    with Follower(stream) as follower, stream.serve(folder / "log", settings) as service:
        with Feeder(stream, light_packets(), RATE):
            follower.wait_for(RATE, 300)
            FAULTS[fault](cluster, stream, rounds)
            assert service.running
        follower.wait_for(stream.n_sent, 180)
        wait_until(lambda: metric(service, "tinyt2_in_flight_messages") == 0, "end of the commits")
        failures = metric(service, "tinyt2_commit_failures_total")
        assert (service.event("partitions lost") is not None) == (fault == "sessions")
        _check_accounts(service, stream)
        accounts = service.stop()
    follower.check_complete()
    print(
        f"{rounds} rounds of {fault}, {stream.n_sent} messages: {follower.n_repeated} repeated, "
        f"0 lost; {failures:g} commits repeated"
    )
    assert accounts.messages_in_flight == 0
    assert stream.committed() == stream.n_sent
    # Nobody was killed; a member that was put out of its group repeats its batch.
    assert follower.n_repeated <= rounds * BATCH


@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_survives(cluster: MockCluster, tmp_path: Path, fault: str) -> None:
    _survive(cluster, tmp_path, fault, rounds=4 if fault == "restarts" else 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_survives_for_long(cluster: MockCluster, tmp_path: Path, fault: str) -> None:
    _survive(cluster, tmp_path, fault, rounds=10 if fault == "sessions" else 40)


@pytest.mark.parametrize(
    ("request_key", "error", "says"),
    [
        (OFFSET_COMMIT, KafkaError.GROUP_AUTHORIZATION_FAILED, "Kafka refuses to commit"),
        (HEARTBEAT, KafkaError.FENCED_INSTANCE_ID, "joined the group as 'one' and takes over"),
    ],
    ids=["commits", "a name that another took"],
)
def test_what_is_refused_for_good_ends_it(
    cluster: MockCluster, tmp_path: Path, request_key: int, error: int, says: str
) -> None:
    stream = Stream(cluster)
    settings = {**SETTINGS, "KAFKA__GROUP_INSTANCE_ID": "one"}
    with stream.serve(tmp_path / "log", settings) as service:
        service.wait_for_event("partitions assigned")
        cluster.fail(request_key, [error])
        stream.produce(light_packets(), 100)
        assert service.process.wait(60) == 1
        assert says in service.tail()
        assert "Traceback" not in service.tail()


def test_an_output_topic_without_rights_ends_it(cluster: MockCluster, tmp_path: Path) -> None:
    stream = Stream(cluster)
    with stream.serve(tmp_path / "log", {**SETTINGS, **QUICK_METADATA}) as service:
        service.wait_for_event("partitions assigned")
        cluster.set_topic_error(
            stream.topics.classifications, KafkaError.TOPIC_AUTHORIZATION_FAILED
        )
        time.sleep(3)
        stream.produce(light_packets(), 100)
        assert service.process.wait(60) == 1
        assert "Kafka refused a record for good" in service.tail()
        assert "Traceback" not in service.tail()
    assert stream.committed() == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        ({}, "an output topic is not there: its records wait"),
        (EXACTLY_ONCE, "transaction aborted; its messages are read again"),
    ],
    ids=["at least once", "exactly once"],
)
def test_an_output_topic_that_is_deleted_is_waited_for(
    cluster: MockCluster, tmp_path: Path, delivery: dict[str, str], says: str
) -> None:
    stream = Stream(cluster)
    output = stream.topics.classifications
    settings = {**SETTINGS, **QUICK_METADATA, **delivery}
    with stream.serve(tmp_path / "log", settings) as service:
        with Follower(stream) as follower:
            stream.produce(light_packets(), 100)
            follower.wait_for(stream.n_sent, 60)
        cluster.set_topic_error(output, KafkaError.UNKNOWN_TOPIC_OR_PART)
        time.sleep(3)
        stream.produce(light_packets(), 200)
        service.wait_for_event(says, 120)
        time.sleep(2)
        cluster.set_topic_error(output, KafkaError.NO_ERROR)
        with Follower(stream) as follower:
            follower.wait_for(stream.n_sent, 120)
        accounts = service.stop()
    follower.check_complete()
    # The mock cluster shows the records of aborted transactions, too.
    assert follower.n_repeated <= accounts.messages_released
    if not delivery:
        assert (tmp_path / "log").read_text().count(says) == 1


def _stream_with_output_apart(cluster: MockCluster) -> Stream:
    """Return a stream whose output alone is on a broker of its own."""
    stream = Stream(cluster)
    topics = stream.topics
    for topic in (topics.alerts, topics.dead_letters, topics.classifications):
        for partition in range(stream.partitions):
            broker = OUTPUT_BROKER if topic == topics.classifications else 1
            cluster.set_leader(topic, partition, broker)
    cluster.set_coordinator(stream.name, 1)
    return stream


def _without_output(cluster: MockCluster, folder: Path, seconds: float) -> None:
    """Take the broker of the output away under load: the input waits, as a live member."""
    stream = _stream_with_output_apart(cluster)
    # Who does not poll for that long is put out of the group.
    most = {"KAFKA__CONSUMER__MAX_POLL_INTERVAL_MS": str(MAX_POLL_S * 1000)}
    with Follower(stream) as follower, stream.serve(folder / "log", SETTINGS | most) as service:
        stream.produce(light_packets(), 1000)
        follower.wait_for(stream.n_sent, 120)
        rebalances = metric(service, "tinyt2_rebalances_total")
        before = _rss(service)
        with Feeder(stream, light_packets(), RATE):
            cluster.stop(OUTPUT_BROKER)
            wait_until(lambda: metric(service, "tinyt2_output_blocked") == 1, "pause")
            end, in_flight, rss = time.monotonic() + seconds, [], []
            while time.monotonic() < end:
                in_flight.append(metric(service, "tinyt2_in_flight_messages"))
                rss.append(_rss(service))
                time.sleep(0.5)
            seen, sent = follower.n_seen, stream.n_sent
            cluster.start(OUTPUT_BROKER)
            follower.wait_for(sent, 120)
        follower.wait_for(stream.n_sent, 120)
        assert metric(service, "tinyt2_output_blocked") == 0
        assert metric(service, "tinyt2_rebalances_total") == rebalances
        service.stop()
    follower.check_complete()
    growth = max(rss) / before - 1
    print(
        f"output away for {seconds:g} s, {sent - seen} messages waiting: {follower.n_repeated} "
        f"repeated, 0 lost, {max(in_flight):g} in flight, memory {growth:+.1%}"
    )
    assert sent - seen > seconds * RATE / 4
    assert max(in_flight) <= BATCH
    assert follower.n_repeated == 0
    assert growth < 0.1


def test_an_output_that_is_away_pauses_the_input(cluster: MockCluster, tmp_path: Path) -> None:
    _without_output(cluster, tmp_path, seconds=2 * MAX_POLL_S)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_output_that_is_away_for_a_minute_pauses_the_input(
    cluster: MockCluster, tmp_path: Path
) -> None:
    _without_output(cluster, tmp_path, seconds=60)


def _blocked(cluster: MockCluster, stream: Stream, service: Serve) -> None:
    """Bring a service to where it has a batch in hand that nobody takes."""
    service.wait_for_event("partitions assigned", 120)
    cluster.stop(OUTPUT_BROKER)
    stream.produce(light_packets(), 100)
    wait_until(lambda: metric(service, "tinyt2_output_blocked") == 1, "pause")


def test_partitions_lost_during_a_pause_are_read_again(
    cluster: MockCluster, tmp_path: Path
) -> None:
    stream = _stream_with_output_apart(cluster)
    with Follower(stream) as follower, stream.serve(tmp_path / "log", SETTINGS) as service:
        _blocked(cluster, stream, service)
        cluster.fail(HEARTBEAT, [KafkaError.UNKNOWN_MEMBER_ID])
        service.wait_for_event("partitions lost")
        cluster.start(OUTPUT_BROKER)
        follower.wait_for(stream.n_sent, 60)
        wait_until(lambda: stream.committed() == stream.n_sent, "commit of all")
        service.stop()
    follower.check_complete()
    assert follower.n_repeated <= BATCH


def test_a_stop_drains_until_its_deadline(cluster: MockCluster, tmp_path: Path) -> None:
    stream = _stream_with_output_apart(cluster)
    with stream.serve(tmp_path / "1.log", {**SETTINGS, "KAFKA__DRAIN_S": "2"}) as service:
        _blocked(cluster, stream, service)
        start = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 1
        assert time.monotonic() - start >= 2
        assert "could not be delivered and committed within 2 s" in service.tail()
        assert "Traceback" not in service.tail()
    assert stream.committed() == 0


def test_a_stop_drains_what_is_taken_in_time(cluster: MockCluster, tmp_path: Path) -> None:
    stream = _stream_with_output_apart(cluster)
    with Follower(stream) as follower:
        with stream.serve(tmp_path / "1.log", {**SETTINGS, "KAFKA__DRAIN_S": "60"}) as service:
            _blocked(cluster, stream, service)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            assert service.running
            cluster.start(OUTPUT_BROKER)
            assert service.process.wait(60) == 0
        n = stream.committed()
        assert 0 < n <= BATCH
        follower.wait_for(n, 30)
        assert follower.n_records == n


def test_a_second_signal_ends_it_at_once(cluster: MockCluster, tmp_path: Path) -> None:
    stream = _stream_with_output_apart(cluster)
    with stream.serve(tmp_path / "1.log", {**SETTINGS, "KAFKA__DRAIN_S": "600"}) as service:
        _blocked(cluster, stream, service)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _catches_interrupts(service.process.pid), "the first signal")
        assert service.running
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(10) == -signal.SIGINT
    assert stream.committed() == 0


def _catches_interrupts(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> signal.SIGINT - 1 & 1)


def _kill_brokers(folder: Path, messages: int, kills: int) -> None:
    """Kill a broker that keeps its data, and start it again: the service goes on by itself.

    Between writes: killed in the middle of one, this stand-in loses records that it has
    acknowledged, those of a bare idempotent producer, too.
    """
    with durable_broker(folder) as broker:
        stream = Stream(broker)
        with Follower(stream) as follower, stream.serve(folder / "log", SETTINGS) as service:
            for i in range(kills + 1):
                if i > 0:
                    broker.kill()
                    time.sleep(1)
                    broker.start()
                stream.produce(light_packets(), messages // (kills + 1))
                follower.wait_for(stream.n_sent, 300)
                wait_until(lambda: stream.committed() == stream.n_sent, "commit of all", 300)
            service.stop()
        follower.check_complete()
    print(
        f"{kills} kills of the broker, {stream.n_sent} messages: {follower.n_repeated} repeated, "
        "0 lost"
    )
    assert follower.n_repeated == 0


def test_a_broker_that_is_killed_and_keeps_its_data(tmp_path: Path) -> None:
    _kill_brokers(tmp_path, 150, kills=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_broker_that_is_killed_often_and_keeps_its_data(tmp_path: Path) -> None:
    _kill_brokers(tmp_path, 1200, kills=5)


def _check_accounts(service: Serve, stream: Stream) -> None:
    """Fail when what the service exports does not add up."""
    consumed, decoded, dead, released = (
        metric(service, f"tinyt2_{name}_total")
        for name in ("messages_consumed", "messages_decoded", "dead_letters", "messages_released")
    )
    assert consumed == decoded + dead + released
    assert consumed >= stream.n_sent


def _rss(service: Serve) -> float:
    return footprint(service.pid).rss_mb


def test_a_header_that_is_no_text_costs_nothing(cluster: MockCluster, tmp_path: Path) -> None:
    stream = Stream(cluster)
    packets = messages("ztf")[:2]
    with stream.serve(tmp_path / "log", SETTINGS) as service:
        service.wait_until_ready()
        cluster.produce_with_header(stream.name, packets[0], b"\xff\xfe")
        cluster.produce_with_header(stream.name, b"rubbish", b"\xff\xfe")
        stream.produce(packets, 2)
        wait_until(lambda: stream.committed() == 4, "everything committed")
        accounts = service.stop()
    assert accounts.messages_consumed == 4
    (letter,) = stream.dead_letters()
    assert dict(letter.headers() or [])["reason"] == b"not_avro"
    assert accounts.messages_decoded == 3
    assert "is not UTF-8" in (tmp_path / "log").read_text()
