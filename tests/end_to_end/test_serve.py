"""The real service as a process, against a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.broker import EmbeddedBroker
from stream.librdkafka import KafkaOptions, open_producer
from stream.output.outcomes import Outcomes
from tests.brokers import Broker
from tests.records import read_record, read_topic

PARTITIONS = 2
BATCH = 16
_MOST_ROUNDS = 300
Found = TypeVar("Found")


@dataclass(frozen=True)
class Stream:
    """Topics and a group of their own, and the environment that points serve at them."""

    broker: Broker
    name: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TINYT2__KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "TINYT2__KAFKA__GROUP_ID": self.name,
            "TINYT2__KAFKA__TOPICS": json.dumps([self.name]),
            "TINYT2__KAFKA__CONSUMER__SESSION_TIMEOUT_MS": "6000",
            "TINYT2__KAFKA__CONSUMER__HEARTBEAT_INTERVAL_MS": "500",
            "TINYT2__OUTPUT__TOPIC": f"{self.name}-out",
            "TINYT2__OUTPUT__DEAD_LETTER_TOPIC": f"{self.name}-dead",
            "TINYT2__BATCH__MAX_MESSAGES": str(BATCH),
            "TINYT2__HTTP__PORT": "0",
            "TINYT2__LOG__FORMAT": "json",
        }

    def read(self, topic: str) -> list[Message]:
        """Return all messages of a topic."""
        return read_topic(self.broker.bootstrap_servers, topic, PARTITIONS)

    def committed(self) -> int:
        """Return how many messages the group has committed."""
        config = {"bootstrap.servers": self.broker.bootstrap_servers, "group.id": self.name}
        consumer = Consumer(config)
        partitions = [TopicPartition(self.name, p) for p in range(PARTITIONS)]
        offsets = [p.offset for p in consumer.committed(partitions, timeout=10)]
        consumer.close()
        return sum(o for o in offsets if o > 0)

    def produce(self, values: list[bytes]) -> None:
        """Append messages, spread over the partitions."""
        producer = open_producer(KafkaOptions(self.broker.bootstrap_servers))
        for i, value in enumerate(values):
            producer.produce(self.name, value, partition=i % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0


@pytest.fixture
def stream(broker: Broker) -> Stream:
    name = f"alerts-{uuid.uuid4().hex[:8]}"
    broker.create_topics([name, f"{name}-out", f"{name}-dead"], PARTITIONS)
    return Stream(broker, name)


class Serve:
    """A running ``tinyt2 serve``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def event(self, name: str) -> dict[str, Any]:
        """Wait for a log line and return it."""
        return wait_for(lambda: self._find(name), f"log line {name!r}")

    def get(self, path: str) -> str:
        """Return what the service answers over HTTP."""
        url = self.event("started")["http"] + path
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        families = text_string_to_metric_families(self.get("/metrics"))
        return sum(s.value for f in families for s in f.samples if s.name == name)

    def stop(self) -> dict[str, Any]:
        """Send SIGTERM; return the accounts that it logs."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self._log.read_text()
        return self.event("stopped")

    def _find(self, name: str) -> dict[str, Any] | None:
        assert self.process.poll() in (None, 0), self._log.read_text()
        for line in self._log.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == name:
                return entry
        return None


def wait_for(find: Callable[[], Found | None], what: str, seconds: float = 60) -> Found:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := find()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds} s")


@contextmanager
def serving(stream: Stream, log: Path) -> Iterator[Serve]:
    command = [sys.executable, "-m", "deploy.cli", "serve"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=stream.environment, stdout=file, stderr=file)
    try:
        yield Serve(process, log)
    finally:
        process.kill()
        process.wait()


def _alert_ids(messages: list[Message]) -> Counter[int]:
    return Counter(read_record(message.value())["alert_id"] for message in messages)


def test_every_alert_has_an_output_across_a_restart(
    stream: Stream, outcomes: Outcomes, tmp_path: Path
) -> None:
    rounds = 40
    values = outcomes.messages.values * rounds
    stream.produce(values)

    with serving(stream, tmp_path / "first.log") as first:
        wait_for(lambda: (first.metric("tinyt2_published_total") > 20) or None, "published alert")
        before = first.stop()
    assert 0 < before["messages_consumed"] < len(values)
    assert before["messages_in_flight"] == 0
    assert stream.committed() == before["messages_consumed"]

    rest = len(values) - before["messages_consumed"]
    with serving(stream, tmp_path / "second.log") as second:
        wait_for(
            lambda: (
                (
                    second.metric("tinyt2_messages_consumed_total") == rest
                    and second.metric("tinyt2_in_flight_messages") == 0
                )
                or None
            ),
            "end of the topic",
        )
        after = second.stop()

    assert stream.committed() == len(values)
    expected = Counter(outcomes.alerts.alert_id.tolist())
    ids = _alert_ids(stream.read(f"{stream.name}-out"))
    # The stop was orderly, so even at least once nothing comes twice.
    assert ids == Counter({alert: count * rounds for alert, count in expected.items()})
    dead = stream.read(f"{stream.name}-dead")
    assert len(dead) == outcomes.n_refused * rounds
    for key in ("alerts_decoded", "alerts_classified"):
        assert before[key] + after[key] > 0
    assert before["alerts_decoded"] + after["alerts_decoded"] == ids.total()


def test_a_kill_loses_nothing_and_repeats_at_most_one_batch(
    stream: Stream, outcomes: Outcomes, tmp_path: Path
) -> None:
    values = outcomes.messages.values * 4
    stream.produce(values)
    with serving(stream, tmp_path / "first.log") as first:
        wait_for(lambda: (first.metric("tinyt2_published_total") > 20) or None, "published alert")
        first.process.kill()
    with serving(stream, tmp_path / "second.log") as second:
        wait_for(lambda: (stream.committed() == len(values)) or None, "end of the topic")
        second.stop()
    assert len(_repeated(stream, outcomes, 4)) <= BATCH


def test_a_member_that_joins_under_load_repeats_and_loses_nothing(
    stream: Stream, outcomes: Outcomes, tmp_path: Path
) -> None:
    # So much that both always have a batch in hand.
    load = Load(stream, outcomes.messages.values * 8)
    with serving(stream, tmp_path / "first.log") as first:
        load.start()
        wait_for(lambda: (first.metric("tinyt2_published_total") > 20) or None, "published alert")
        with serving(stream, tmp_path / "second.log") as second:
            wait_for(
                lambda: (second.metric("tinyt2_published_total") > 20) or None, "a second member"
            )
            assert load.is_alive(), "the load ended too early to prove anything"
            load.end.set()
            load.join()
            n = load.rounds * 8 * len(outcomes.messages)
            wait_for(lambda: (stream.committed() == n) or None, "end of the topic")
            consumed = [member.stop()["messages_consumed"] for member in (first, second)]
    assert sum(consumed) == n
    assert not _repeated(stream, outcomes, load.rounds * 8)


class Load(threading.Thread):
    """Appends the same messages round after round, until it is told to end."""

    def __init__(self, stream: Stream, values: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._values = values
        self.end = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        while self.rounds < _MOST_ROUNDS and not self.end.wait(0.1):
            self._stream.produce(self._values)
            self.rounds += 1


def _repeated(stream: Stream, outcomes: Outcomes, rounds: int) -> set[tuple[int, int]]:
    """Check that all messages have their outcomes; return those that have them more than once."""
    alerts = Counter(
        (record["partition"], record["offset"], record["alert_id"])
        for record in map(read_record, map(_value, stream.read(f"{stream.name}-out")))
    )
    dead = Counter(map(_source, stream.read(f"{stream.name}-dead")))
    assert len(alerts) == rounds * len(outcomes.alerts)
    assert len(dead) == rounds * outcomes.n_refused
    return {key[:2] for key, times in (alerts + dead).items() if times > 1}


def _value(message: Message) -> str | bytes | None:
    return message.value()


def _source(message: Message) -> tuple[int, int, int]:
    """Return partition and offset of the message that a dead letter was."""
    headers = dict(message.headers() or [])
    return int(headers["source_partition"] or 0), int(headers["source_offset"] or 0), 0


def test_health_and_metrics_over_http(stream: Stream, outcomes: Outcomes, tmp_path: Path) -> None:
    with serving(stream, tmp_path / "serve.log") as service:
        assert service.get("/health/live") == "live"
        ready = wait_for(lambda: _ready(service), "readiness")
        assert ready == {"model": True, "partitions": True, "output": True}
        stream.produce(outcomes.messages.values)
        wait_for(
            lambda: (service.metric("tinyt2_alerts_total") == len(outcomes.alerts)) or None,
            "classified alerts",
        )
        assert service.metric("tinyt2_dead_letters_total") == outcomes.n_refused
        assert service.metric("tinyt2_end_to_end_latency_seconds_count") == len(outcomes.alerts)
        wait_for(lambda: "tinyt2_consumer_lag_messages{" in service.get("/metrics") or None, "lag")
        wait_for(
            lambda: (service.metric("tinyt2_consumer_lag_messages") == 0) or None, "end of the lag"
        )
        started = service.event("started")
        assert started["model_sha256"] == outcomes.bundle.sha256
        assert started["provider"] == "CPUExecutionProvider"
        assert (started["topics"], started["output"]) == ([stream.name], f"{stream.name}-out")
        assert all(started[name] for name in ("tinyt2", "python", "onnxruntime", "librdkafka"))
        service.stop()


def _ready(service: Serve) -> dict[str, bool] | None:
    try:
        answer = json.loads(service.get("/health/ready"))
    except urllib.error.HTTPError:
        return None
    checks: dict[str, bool] = answer.get("checks", answer)
    return checks


def test_a_stop_does_not_wait_for_a_broker_that_is_gone_silent(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics(["in", "in-out", "in-dead"], PARTITIONS)
        stream = Stream(broker, "in")
        stream.produce([b"rubbish"])
        with serving(stream, tmp_path / "serve.log") as service:
            wait_for(
                lambda: (service.metric("tinyt2_dead_letters_total") == 1) or None, "dead letter"
            )
            assert broker._process is not None
            broker._process.send_signal(signal.SIGSTOP)
            try:
                assert service.stop()["messages_in_flight"] == 0
            finally:
                broker._process.send_signal(signal.SIGCONT)


def test_a_mistake_in_the_settings_is_one_clear_line(stream: Stream, tmp_path: Path) -> None:
    environment = {**stream.environment, "TINYT2__OUTPUT__TOPIC": "no-such-topic"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "no-such-topic" in done.stderr
    assert "Traceback" not in done.stderr
