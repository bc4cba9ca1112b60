"""A Dockerfile, and its build stage replayed without Docker: the same commands, other folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, continuation lines joined."""

    stage: int
    name: str
    text: str


def instructions() -> list[Instruction]:
    """Return the instructions of the Dockerfile in order."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text())
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        name, _, rest = line.partition(" ")
        if name:
            stage += name == "FROM"
            found.append(Instruction(stage, name, rest))
    return found


def environment(stage: int) -> dict[str, str]:
    """Return what the ENV instructions of a stage set."""
    pairs = [
        pair.split("=", 1)
        for instruction in instructions()
        if (instruction.stage, instruction.name) == (stage, "ENV")
        for pair in instruction.text.split()
    ]
    return dict(pairs)


def health_check() -> list[str]:
    """Return the command of HEALTHCHECK."""
    (text,) = (i.text for i in instructions() if i.name == "HEALTHCHECK")
    command: list[str] = json.loads(text.partition("CMD ")[2])
    return command


def copy_context(to: Path) -> None:
    """Copy what is committed, or would be, and passes .dockerignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for name in listed:
        if any(name == path or name.startswith(f"{path}/") for path in kept):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


class Replayed:
    """The build stage, run below a folder that stands for the root of the image."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moved = {"/src": "src", "/build": "build", "/opt/tinyt2": "opt/tinyt2"}
        (folder / "opt").mkdir()
        copy_context(folder / "src")
        seen: dict[str, str] = {}
        for instruction in instructions():
            if instruction.stage == 0 and instruction.name == "ENV":
                seen |= dict(pair.split("=", 1) for pair in instruction.text.split())
            elif instruction.stage == 0 and instruction.name == "RUN":
                self.run(["sh", "-ec", self.here(instruction.text)], seen, folder / "src")

    @property
    def program(self) -> Path:
        """Return where tinyt2 is."""
        return self._folder / "opt/tinyt2"

    def here(self, text: str) -> str:
        """Return a text of the Dockerfile with the paths of this machine."""
        for path, name in self._moved.items():
            text = re.sub(rf"(?<![\w/]){path}(?![\w-])", str(self._folder / name), text)
        return text

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with variables of the Dockerfile, and nothing of ours."""
        path = f"{self.program}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "OPENBLAS")) or name in {"HOME", "LANG", "TMPDIR"}
        }
        own = {name: self.here(value) for name, value in variables.items()}
        # What was downloaded once need not be again.
        return passed | own | {"PATH": path, "PIP_NO_CACHE_DIR": "0", "PYTHONPATH": ""}

    def run(self, command: list[str], variables: Mapping[str, str], cwd: Path) -> str:
        """Return what a command prints; fail unless it ends well."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
