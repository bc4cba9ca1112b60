"""``tinyt2 serve --from --until`` as a process: it reads a window and ends with its accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stream.librdkafka import KafkaOptions, open_producer
from tests.brokers import fresh_name
from tests.noida import Noida
from tests.records import read_record, read_topic

MINUTE = 60_000


def production(noida: Noida, name: str) -> Producer:
    """Return the producer of a service that works exactly once."""
    producer = Producer(
        {"bootstrap.servers": noida.bootstrap_servers, "transactional.id": f"{name}-one"}
    )
    producer.init_transactions(60)
    return producer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_time_window_is_replayed_under_names_of_its_own(
    noida: Noida, alerts_dir: Path, delivery: str
) -> None:
    name = fresh_name("night")
    noida.create_topics([name], 2)
    noida.create_topics([f"{name}-out", f"{name}-dead"])
    packets = [
        path.read_bytes() for path in sorted((alerts_dir / "made_up" / "lsst").rglob("tiny_*.avro"))
    ]
    start = (int(time.time()) - 3600) * 1000
    producer = open_producer(KafkaOptions(noida.bootstrap_servers))
    for i in range(30):
        value = b"rubbish" if i == 15 else packets[i % len(packets)]
        producer.produce(name, value, partition=i % 2, timestamp=start + i * MINUTE)
    assert producer.flush(60) == 0
    first, last = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((start + k * MINUTE) / 1000))
        for k in (10, 20)
    )
    service = production(noida, name)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deploy.cli", "serve", "--from", first, "--until", last],
        env={
            **os.environ,
            "TINYT2__KAFKA__BOOTSTRAP_SERVERS": noida.bootstrap_servers,
            "TINYT2__KAFKA__GROUP_ID": name,
            "TINYT2__KAFKA__GROUP_INSTANCE_ID": "one",
            "TINYT2__KAFKA__DELIVERY": delivery,
            "TINYT2__KAFKA__TOPICS": name,
            "TINYT2__OUTPUT__TOPIC": f"{name}-out",
            "TINYT2__OUTPUT__DEAD_LETTER_TOPIC": f"{name}-dead",
            "TINYT2__HTTP__PORT": "0",
            "TINYT2__LOG__FORMAT": "json",
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    (stopped,) = [entry for entry in entries if entry["event"] == "stopped"]
    assert (stopped["messages_consumed"], stopped["messages_decoded"]) == (10, 9)
    assert stopped["dead_letters"] == {"not_avro": 1}
    places = Counter(
        (record["partition"], record["offset"])
        for record in (
            read_record(m.value()) for m in read_topic(noida.bootstrap_servers, f"{name}-out")
        )
    )
    assert places == Counter((i % 2, i // 2) for i in range(10, 20) if i != 15)
    service.begin_transaction()
    service.produce(f"{name}-out", b"still there")
    service.commit_transaction(60)  # raises where production was fenced
    consumer = Consumer({"bootstrap.servers": noida.bootstrap_servers, "group.id": name})
    committed = consumer.committed([TopicPartition(name, p) for p in range(2)], timeout=30)
    consumer.close()
    assert [place.offset for place in committed] == [-1001, -1001], "production is left alone"
