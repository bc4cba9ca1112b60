"""A TLS proxy in front of a broker, with certificates of its own; see `tls_broker`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import trustme

from deploy.broker import accepts, free_port
from tests.faults import tansu, wait_until

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
    port = free_port()
    with (
        tansu(folder, "memory://tansu/", advertised=port) as broker,
        _proxy(port, broker.port, context),
    ):
        yield TlsBroker(
            f"127.0.0.1:{port}",
            broker.bootstrap_servers,
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
def _proxy(port: int, to: int, context: ssl.SSLContext) -> Iterator[None]:
    """Pass bytes on between TLS on one port and plaintext on another."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=_serve, args=(loop, port, to, context), daemon=True)
    thread.start()
    wait_until(lambda: accepts(port), "proxy")
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
