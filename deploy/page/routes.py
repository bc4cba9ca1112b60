"""The addresses of the live page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.page.alert import alert_detail
from deploy.page.status import status
from deploy.page.watch import Watch
from stream.alerts import NotClassifiedReason
from stream.recent import AlertFilter

__all__ = ["page_routes"]

_FILES: Final = Path(__file__).parent / "static"
_MOST_ALERTS: Final = 500
_HEADERS: Final = {
    # What comes in alerts is hostile: no script, style or image but our own files.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class _Query(BaseModel):
    """What ``/api/alerts`` may be asked for."""

    model_config = ConfigDict(extra="forbid")

    class_name: str | None = Field(default=None, alias="class")
    min_probability: float = Field(default=0.0, ge=0, le=1)
    outcome: Literal["classified", "not_classified"] | NotClassifiedReason | None = None
    limit: int = Field(default=100, ge=1, le=_MOST_ALERTS)


def page_routes(
    watch: Watch, live: Callable[[], bool], ready: Callable[[], dict[str, bool]]
) -> Mount:
    """Return the page and what it asks for, all below ``/``."""

    async def page(request: Request) -> Response:
        return FileResponse(_FILES / "index.html")

    async def state(request: Request) -> Response:
        return JSONResponse(status(watch, live(), ready()))

    async def alerts(request: Request) -> Response:
        try:
            query = _Query.model_validate(dict(request.query_params))
        except ValidationError as error:
            return _refused(_complaint(error))
        classes = [c.name for c in watch.bundle().manifest.classes]
        if query.class_name is not None and query.class_name not in classes:
            return _refused(f"class must be one of {', '.join(classes)}, not {query.class_name!r}")
        wanted = AlertFilter(query.class_name, query.min_probability, query.outcome)
        return JSONResponse({"alerts": watch.recent.find(wanted, query.limit)})

    async def alert(request: Request) -> Response:
        key = request.path_params["key"]
        found = watch.recent.get(key)
        if found is None:
            return _refused(f"the alert {key!r} is not, or no longer, among those kept", 404)
        return JSONResponse(alert_detail(key, *found))

    return Mount(
        "/",
        routes=[
            Route("/", page),
            Route("/api/status", state),
            Route("/api/alerts", alerts),
            Route("/api/alerts/{key:path}", alert),
            Mount("/page", StaticFiles(directory=_FILES)),
        ],
        middleware=[Middleware(_Headers)],
    )


class _Headers:
    """Adds the headers of the page to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _complaint(error: ValidationError) -> str:
    """Return what is wrong with the first parameter that is."""
    first: Any = error.errors(include_url=False)[0]
    name = first["loc"][0]
    if first["type"] == "extra_forbidden":
        known = ", ".join(field.alias or name for name, field in _Query.model_fields.items())
        return f"unknown parameter {name!r}; known: {known}"
    if name == "outcome":
        reasons = ", ".join(NotClassifiedReason)
        return f"outcome must be classified, not_classified or one of {reasons}"
    return f"{name}: {first['msg']}, got {first['input']!r}"


def _refused(error: str, code: int = 400) -> Response:
    return JSONResponse({"error": error}, code)
