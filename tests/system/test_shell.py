"""The shell scripts of the project, judged by shellcheck."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", [".ci/run", "deploy/docker/entrypoint.sh"])
def test_shellcheck_finds_no_fault(script: str) -> None:
    shellcheck = shutil.which("shellcheck")
    assert shellcheck is not None, "shellcheck is missing: apt-get install shellcheck"
    done = subprocess.run(
        [shellcheck, script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
