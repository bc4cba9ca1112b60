from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.datasets.plasticc_classes import CLASS_OF_NUMBER
from models.errors import ConfigurationError
from models.series.network import NetworkConfig
from models.series.study import BUDGET, PUBLISHED, RESULT_NAME, run, within_budget
from models.series.training import SeriesConfig
from tests.models.series.flares import series

QUICK = SeriesConfig(
    NetworkConfig(
        members=1, summary_members=1, filters=4, bottleneck=4, depth=1, summary=8, hidden=8
    ),
    epochs=2,
    batch=16,
    trees=20,
)


def write(folder: Path, part: str, seed: int, shuffle: bool = False) -> None:
    rng = np.random.default_rng(seed)
    kind = np.arange(14 * 6) % 14
    flux = series(rng, kind % 3)
    number = np.array(list(CLASS_OF_NUMBER))[rng.permutation(kind) if shuffle else kind]
    np.savez(folder / f"lsst_{part}.npz", X=flux, y=number.astype(np.int16))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, "train", 0)
    write(tmp_path, "test", 1)
    return tmp_path


def test_the_table_and_the_file_hold_every_row(data: Path, tmp_path: Path) -> None:
    text = io.StringIO()
    result = run(data, tmp_path / "out", (0, 1), Console(file=text, width=200), QUICK, 20)
    written = json.loads((tmp_path / "out" / RESULT_NAME).read_text())
    assert written == json.loads(json.dumps(result))
    for row in written["rows"].values():
        assert len(row["seeds"]) == 2
        for figure in ("accuracy", "macro_f1", "log_loss"):
            mean = row["mean"][figure]
            assert mean["low"] <= mean["value"] <= mean["high"]
            values = [found[figure]["value"] for found in row["seeds"]]
            assert mean["value"] == pytest.approx(np.mean(values))
    for name in (
        *PUBLISHED,
        "majority",
        "ExtraTrees, mean",
        "ExtraTrees, sharpened, seed 0",
        "network and balanced ExtraTrees, averaged, seed 1",
        "parameters), seed 1",
    ):
        assert name in text.getvalue()


def test_test_labels_change_no_answer(data: Path, tmp_path: Path) -> None:
    quiet = Console(file=io.StringIO())
    predicted = []
    for shuffle in (False, True):
        write(data, "test", 1, shuffle)
        result = run(data, tmp_path / f"out{shuffle}", (0,), quiet, QUICK, 5)
        confusion = [np.array(row["seeds"][0]["confusion"]) for row in result["rows"].values()]
        predicted.append([counts.sum(axis=0) for counts in confusion])
    np.testing.assert_array_equal(predicted[0], predicted[1])


def test_a_network_over_budget_is_refused() -> None:
    assert within_budget(BUDGET - 1) == BUDGET - 1
    with pytest.raises(ConfigurationError, match="fewer members"):
        within_budget(BUDGET)


def test_no_seeds_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="seed"):
        run(data, tmp_path / "out", ())
