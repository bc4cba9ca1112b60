"""The demonstration, shortened."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest

COMMAND = [sys.executable, "-m", "deploy.cli", "demo", "--seconds", "10"]


def test_demo_leaves_nothing_behind_when_it_is_ended() -> None:
    demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    line = next(line for line in demo.stdout if line.startswith("serving:"))
    url = line.split()[-1]
    with urllib.request.urlopen(url, timeout=5) as page:
        assert b"tinyt2" in page.read()
    port = urlsplit(url).port
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(timeout=60) == 128 + signal.SIGTERM
    demo.stdout.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_demo_adds_up_and_ends_by_itself() -> None:
    # Settings of the user's own service must not reach the demonstration's.
    environment = {**os.environ, "TINYT2__LOG__LEVEL": "error", "TINYT2__INPUT__SURVEYS": "ztf"}
    done = subprocess.run(
        [*COMMAND, "--alerts-per-visit", "400"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = re.findall(r"^(ok|NO)  .*: ([\d,]+) = ([\d,]+)$", done.stdout, re.MULTILINE)
    assert len(checks) == 6
    for mark, left, right in checks:
        assert mark == "ok"
        assert left == right != "0"
    assert re.search(r"end-to-end latency: median \d+\.\d+ s", done.stdout)
    assert "Trained on simulations only" in " ".join(done.stdout.split())
