"""A schema registry over HTTP, for tests: it can be broken and slow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from urllib.parse import urlparse

__all__ = ["Registry", "registry"]


class Registry(ThreadingHTTPServer):
    """Schemas by id, and subjects by (name, version) -> id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.schemas: dict[int, str] = {}
        self.references: dict[int, list[dict[str, object]]] = {}
        self.subjects: dict[tuple[str, int], int] = {}
        self.broken = False
        self.delay_s = 0.0
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        self.server.asked.append(path)
        sleep(self.server.delay_s)
        parts = path.strip("/").split("/")
        schema_id = self._schema_id(parts)
        body: dict[str, object] = {"error_code": 40403, "message": "no"}
        if schema_id in self.server.schemas:
            body = {"schema": self.server.schemas[schema_id], "id": schema_id}
            body["references"] = self.server.references.get(schema_id, [])
            if parts[0] == "subjects":
                body |= {"subject": parts[1], "version": int(parts[3])}
        self.send_response(503 if self.server.broken else 200 if "schema" in body else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def _schema_id(self, parts: list[str]) -> int:
        if parts[0] == "subjects":
            return self.server.subjects.get((parts[1], int(parts[3])), -1)
        return int(parts[2])

    def log_message(self, format: str, *args: object) -> None:
        pass
