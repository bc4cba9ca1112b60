"""What is logged, and what is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import logging
from deploy.logs import configure_logs
configure_logs("{level}")
for name in ("httpx", "httpcore", "other"):
    logging.getLogger(name).info("%s GET http://example.org", name)
    logging.getLogger(name).warning("%s is odd", name)
"""


def logged(code: str) -> list[str]:
    """Return the lines that a program logs."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["httpx is odd", "httpcore is odd", "other GET", "other is odd"]),
        ("error", []),
    ],
)
def test_requests_of_the_http_library_are_not_logged(level: str, shown: list[str]) -> None:
    lines = logged(CODE.format(level=level))
    assert len(lines) == len(shown)
    assert all(text in line for text, line in zip(shown, lines, strict=True))


WORK = """
from deploy import wiring
from deploy.demo import sample_files
from deploy.logs import configure_logs
from deploy.settings import Settings
from stream.metrics import Metrics
from stream.service import Service
from stream.sinks.memory import MemorySink
from stream.sources.memory import MemorySource
configure_logs("info")
values = [*(path.read_bytes() for path in sample_files()), b"rubbish"] * 20
metrics, sink = Metrics(), MemorySink()
service = Service(
    MemorySource(values), wiring.open_pipeline(Settings(), metrics), sink, metrics
)
assert service.run().messages_consumed == len(values) == 560
"""


def test_alerts_and_refused_messages_are_not_logged() -> None:
    assert logged(WORK) == []


def test_a_line_that_repeats_is_logged_a_few_times() -> None:
    code = """
import logging, structlog
from deploy.logs import configure_logs
configure_logs("info", "json")
for i in range(100):
    logging.getLogger("librdkafka").error("%d/1: connection refused (after %d ms)", i, i)
    structlog.get_logger().warning("commit failed; it is repeated", error=str(i))
"""
    lines = [json.loads(line) for line in logged(code)]
    assert len(lines) == 10
    assert [line["level"] for line in lines] == ["error", "warning"] * 5
    assert "left out" in lines[8]["event"]
    assert "left out" in lines[9]["repeats"]
