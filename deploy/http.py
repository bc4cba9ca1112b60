"""What the service says over HTTP: metrics for Prometheus, health for an orchestrator, a page.

``/metrics``        the registry, in the format that the scraper asks for
``/health/live``    200 while the service moves, 503 when it should be restarted
``/health/ready``   200 when every check holds, else 503; the checks as JSON
``/``               the live page, where it is on: `deploy.page`
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn import Config, Server

from models.errors import ConfigurationError

__all__ = ["HttpServer", "http_app"]

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_BACKLOG: Final = 128

Live = Callable[[], bool]
Ready = Callable[[], dict[str, bool]]


def http_app(
    registry: CollectorRegistry, live: Live, ready: Ready, more: Sequence[BaseRoute] = ()
) -> Starlette:
    """Return the application; ``ready`` names its checks, ``more`` are further addresses."""

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    async def health_live(request: Request) -> Response:
        alive = live()
        return PlainTextResponse("live" if alive else "stuck", 200 if alive else 503)

    async def health_ready(request: Request) -> Response:
        checks = ready()
        return JSONResponse(checks, 200 if all(checks.values()) else 503)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/health/live", health_live),
            Route("/health/ready", health_ready),
            *more,
        ]
    )


class HttpServer:
    """Serve metrics, health and ``more`` from a thread of its own. Port 0 takes any free one.

    ``live`` and ``ready`` are called on that thread and must return at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        live: Live,
        ready: Ready,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        self._host = host
        self._port = port
        config = Config(
            http_app(registry, live, ready, more),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = Server(config)
        self._thread = Thread(target=self._run, name="http", daemon=True)
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on, the free one that was found once started."""
        if self._socket is None:
            return self._port
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Listen; raise `ConfigurationError` when the address cannot be had."""
        self._socket = _listen(self._host, self._port)
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"the HTTP server did not start within {_START_S:g} s", self.port
                )
            time.sleep(0.005)

    def stop(self) -> None:
        """Answer what is open, then stop listening."""
        if self._socket is None:
            return
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        self._socket.close()

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ConfigurationError(f"[http] host {host!r}: {error.strerror}", host) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}): set another [http] port or host",
            (host, port),
        ) from error
    return listener
