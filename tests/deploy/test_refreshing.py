"""The command, its exit codes and a kill; and the files that schedulers read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from deploy.cli import main
from deploy.refreshing import load_refresh
from deploy.training import load_recipe
from models.errors import ConfigurationError
from models.store import ModelStore
from models.train import run
from tests.compress.bundles import quiet
from tests.models.supernovae import write_spcc

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "refresh"
RECIPE = """
[model]
name = "trial"
[data]
validation = 0.2
test = 0.3
[network]
width = 8
latents = 2
heads = 2
[training]
epochs = 5
batch = 32
lr = 1e-2
averaging = 0.9
"""
JOB = """
[refresh]
start = "start"
data = "data"
store = "store"
work = "work"
train = "recipe.toml"
bootstrap = 20
[training]
epochs = 4
lr = 1e-3
[gates]
max_recall_drop = 1.0
max_flat_log_loss_rise = 9
max_flat_log_loss_rise_slice = 9
max_ece = 1.0
min_agreement = 0.0
"""
"""With gates that let every model pass: how good one is hangs on the processor's last bits."""


@dataclass(frozen=True)
class Command:
    """``tinyt2 refresh`` in this process."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, job: Path) -> tuple[int, str]:
        """Run a job and return exit code and all that was said, in one line."""
        self.monkeypatch.setattr(sys, "argv", ["tinyt2", "refresh", str(job)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, " ".join((out + err).split())


@pytest.fixture
def refresh(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job that fine-tunes a small model, which is the deployed one."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "data").mkdir()
    write_spcc(folder / "data", per_template=30)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "job.toml").write_text(JOB)
    recipe = load_recipe(folder / "recipe.toml")
    model = run(recipe, folder / "data", folder / "start", console=quiet(), bootstrap=0)
    store = ModelStore(folder / "store")
    store.promote(store.add(model))
    return folder


@pytest.fixture
def job(deployed: Path, tmp_path: Path) -> Path:
    """The job in a folder of its own."""
    return shutil.copytree(deployed, tmp_path / "job") / "job.toml"


def test_a_killed_command_is_taken_up_and_codes_tell_schedulers_what_happened(
    job: Path, refresh: Command
) -> None:
    work, store = job.parent / "work", ModelStore(job.parent / "store")
    before = store.state().current
    first = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "refresh", str(job)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        while not (found := list(work.glob("*/train/checkpoint.pt"))):
            assert first.poll() is None, "it ended before its first epoch"
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)
        code, told = refresh(job)
        assert code == os.EX_TEMPFAIL, told
        assert f"is in use by process {first.pid}" in told
    finally:
        first.kill()
        first.wait()
    assert store.state().current == before
    mark(found[0])

    code, told = refresh(job)
    assert code == 0, told
    assert "is promoted in place of" in told
    assert store.state().previous == before
    card = json.loads((found[0].parent / "card.json").read_text())
    assert card["training"]["wall_time_s"] > 1e5, "the checkpoint was not taken up"


def mark(checkpoint: Path) -> None:
    """Make a checkpoint known by a time that training never takes."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"seconds": 1e6}, checkpoint)


def test_a_refused_model_and_a_wrong_job_have_other_codes(job: Path, refresh: Command) -> None:
    job.write_text(job.read_text().replace("min_agreement = 0.0", "min_agreement = 1.0"))
    code, told = refresh(job)
    assert code == 1
    assert "error: model" in told
    assert "agreement (objects): it is" in told
    code, told = refresh(job)
    assert (code, told[:11]) == (0, "nothing new")
    job.write_text(job.read_text().replace("max_ece", "max_eec"))
    code, told = refresh(job)
    assert code == 2
    assert "[gates] max_eec: unknown key; did you mean max_ece?" in told


def test_paths_are_relative_to_the_job(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "job.toml").write_text(JOB.replace('"work"', '"/work"'))
    job, recipe = load_refresh(tmp_path / "job.toml")
    assert job.refresh.data == tmp_path / "data"
    assert job.refresh.work == Path("/work")
    assert recipe == load_recipe(tmp_path / "recipe.toml")
    (tmp_path / "job.toml").write_text(JOB.replace("train =", 'compress = "x.toml"\ntrain ='))
    with pytest.raises(ConfigurationError, match=r"either compress .* or train"):
        load_refresh(tmp_path / "job.toml")


def test_the_cron_job_tells_the_codes_apart() -> None:
    job = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    inner = job["spec"]["jobTemplate"]["spec"]
    pod = inner["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never", "what podFailurePolicy asks for"
    assert container["args"][0] == "refresh"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    codes = {
        code: rule["action"]
        for rule in inner["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
        for code in rule["onExitCodes"]["values"]
    }
    assert codes == {1: "FailJob", 2: "FailJob", os.EX_TEMPFAIL: "Ignore"}


def test_the_units_are_sound(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    for name in ("tinyt2-refresh.service", "tinyt2-refresh.timer"):
        text = (FOLDER / name).read_text().replace("/opt/tinyt2/bin/tinyt2", sys.executable)
        (tmp_path / name).write_text(text)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_has_only_keys_that_there_are(tmp_path: Path) -> None:
    text = (FOLDER / "refresh.example.toml").read_text()
    (tmp_path / "job.toml").write_text(
        text.replace('compress = "default.toml"', 'train = "r.toml"')
    )
    (tmp_path / "r.toml").write_text(RECIPE)
    job, _ = load_refresh(tmp_path / "job.toml")
    assert job.gates.rare == ["KN", "SLSN-I"]
