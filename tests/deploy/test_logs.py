"""What the libraries log."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["httpx is odd", "httpcore is odd", "other GET", "other is odd"]),
        ("error", []),
    ],
)
def test_requests_of_the_http_library_are_not_logged(level: str, shown: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(level=level)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == len(shown)
    assert all(text in line for text, line in zip(shown, lines, strict=True))
