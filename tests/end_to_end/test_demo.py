"""The demonstration, shortened."""

from __future__ import annotations

import re
import subprocess
import sys


def test_demo_adds_up_and_ends_by_itself() -> None:
    command = [sys.executable, "-m", "deploy.cli", "demo", "--seconds", "10"]
    done = subprocess.run(
        [*command, "--alerts-per-visit", "400"], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = re.findall(r"^(ok|NO)  .*: ([\d,]+) = ([\d,]+)$", done.stdout, re.MULTILINE)
    assert len(checks) == 6
    for mark, left, right in checks:
        assert mark == "ok"
        assert left == right != "0"
    assert re.search(r"end-to-end latency: median \d+\.\d+ s", done.stdout)
    assert "simulated DES supernovae" in " ".join(done.stdout.split())
