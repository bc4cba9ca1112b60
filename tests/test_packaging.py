"""What a user gets: built from the tree, installed in a clean environment, run from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("compress", "deploy", "models", "stream")
LICENCES = {"LICENSE", "tests/data/NOTICE.md"}

pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """Return what a command prints; fail unless it ends with the code."""
    # A path that points at the tree would hide what is not installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def listed(*folders: str) -> list[str]:
    """Return the files that are committed, or would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    names = run(*command, cwd=ROOT).rstrip("\0").split("\0")
    return [name for name in names if os.path.lexists(ROOT / name)]


def package_files() -> Iterator[str]:
    """Yield the files of the rooms, those behind a linked folder under the link's name."""
    for name in listed(*ROOMS):
        path = ROOT / name
        if path.is_dir():
            target = path.resolve().relative_to(ROOT)
            yield from (f"{name}/{Path(f).relative_to(target)}" for f in listed(str(target)))
        else:
            yield name


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source archive of a clean copy and the wheel that comes out of it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in listed():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("tinyt2-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    constraints = ROOT / "constraints.txt"
    python = folder / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--no-compile", "--constraint", constraints)
    run(python, *install, wheel, cwd=folder)
    return folder / "bin"


def test_the_wheel_has_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == set(package_files())


def test_the_wheel_has_the_licences(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {n.partition("/licenses/")[2] for n in names if "/licenses/" in n} == LICENCES


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {"bench", "demo", "dev", "spark", "train"}


def test_linked_folders_are_real_files_in_the_archives(dist: Path, wheel: Path) -> None:
    name = "deploy/alerts/ztf/3.1/ZTF18aaiscil_669488313515010001.avro"
    content = (ROOT / name).read_bytes()
    assert ZipFile(wheel).read(name) == content
    (source,) = dist.glob("tinyt2-*.tar.gz")
    with tarfile.open(source) as archive:
        member = archive.extractfile(f"{source.name.removesuffix('.tar.gz')}/{name}")
        assert member is not None
        assert member.read() == content


def test_the_installed_command_runs_from_anywhere(installed: Path, tmp_path: Path) -> None:
    text = run(installed / "tinyt2", "--help", cwd=tmp_path)
    commands = ("serve", "replay", "demo", "train", "model", "bench")
    assert all(command in text for command in commands)
    assert run(installed / "tinyt2", "--version", cwd=tmp_path).startswith("tinyt2 ")


def test_the_installed_command_has_its_model(installed: Path, tmp_path: Path) -> None:
    assert str(installed.parent) in run(
        installed / "tinyt2", "model", "show", "--json", cwd=tmp_path
    )


def test_the_installed_command_classifies_the_alerts_that_come_with_it(
    installed: Path, tmp_path: Path
) -> None:
    code = "import deploy; print(deploy.__path__[0])"
    alerts = Path(run(installed / "python", "-c", code, cwd=tmp_path).strip()) / "alerts"
    run(installed / "tinyt2", "replay", alerts / "ztf", "--out", "ztf.parquet", cwd=tmp_path)
    assert (tmp_path / "ztf.parquet").stat().st_size > 0


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["train", "--data", "."], "train"),
        (["demo"], "demo"),
        (["bench", "decode"], "demo"),
        (["bench", "features"], "bench"),
    ],
)
def test_a_command_that_needs_an_extra_names_it(
    installed: Path, tmp_path: Path, command: list[str], extra: str
) -> None:
    text = run(installed / "tinyt2", *command, cwd=tmp_path, code=2)
    assert f"tinyt2[{extra}]" in text.replace("\n", "")


def test_the_installed_command_measures_the_alerts_that_come_with_it(
    installed: Path, tmp_path: Path
) -> None:
    text = run(
        installed / "tinyt2", "bench", "replay", "--rounds", "1", "--alerts", "50", cwd=tmp_path
    )
    assert "fastavro" in text
