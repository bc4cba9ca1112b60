"""The systemd unit, judged by systemd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.monitoring import DEPLOY

pytestmark = pytest.mark.system

UNIT = DEPLOY / "systemd/tinyt2.service"
EXPOSURE = 15
"""Tenths of what systemd calls the exposure level of a service, 0 to 100."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: apt-get install systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that is there."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/tinyt2/bin/tinyt2", "/bin/true"))
    return file


def test_systemd_finds_no_fault(unit: Path) -> None:
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_notices_a_wrong_directive(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("TimeoutStopSec", "TimeoutStopSecs"))
    assert "TimeoutStopSecs" in analyze("verify", unit).stderr


def test_the_service_is_confined(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--json=short", unit)
    assert done.returncode == 0, done.stdout
    assert len(json.loads(done.stdout)) > 50
