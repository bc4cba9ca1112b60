"""The broker noida for tests: what the embedded one cannot do, offsets by time above all."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.broker import create_topics

__all__ = ["Noida", "noida"]


class Noida:
    """A running broker."""

    def __init__(self, port: int) -> None:
        self.bootstrap_servers = f"127.0.0.1:{port}"

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        create_topics(self.bootstrap_servers, names, partitions)


@pytest.fixture(scope="session")
def noida(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Noida]:
    """One broker for the whole run."""
    pytest.importorskip("noida_db")
    folder = tmp_path_factory.mktemp("noida")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(str(files("noida_db"))) / "noida-db"
    arguments = ["start", "--data-dir", str(folder / "data"), "--only", "kafka", "--kafka-port"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *arguments, str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, port, folder / "log")
        yield Noida(port)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and _answers(port):
                return
        time.sleep(0.1)
    raise AssertionError(f"the broker does not answer: {log.read_text()[-2000:]}")


def _answers(port: int) -> bool:
    try:
        AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=2)
    except KafkaException:
        return False
    return True
