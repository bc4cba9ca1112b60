"""A report has every row, every picture, and the figures that an evaluation gives."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from compress.plots import Point, front
from compress.report import ReportConfig, Stage, report
from compress.sizes import sizes
from models.augment import carried_by_alerts
from models.errors import ConfigurationError
from models.evaluate_bundle import MOMENTS, EvaluationConfig, evaluate_bundle
from models.runtime import load_classifier
from tests.compress.bundles import quiet, unseen

CONFIG = ReportConfig(bootstrap=20, seed=3, rounds=2, lengths=(8, 32), command="tinyt2 <make>")


@pytest.fixture(scope="module")
def made(good: Path, bad: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stages = [Stage("teacher", good), Stage("twin <1>", bad, "twin"), Stage("last", bad)]
    out = tmp_path_factory.mktemp("report")
    return report(stages, {"objects": unseen(data)}, out, CONFIG, quiet())


@pytest.fixture(scope="module")
def result(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.parent / "report.json").read_text())
    return found


def test_figures_are_those_of_an_evaluation(result: dict[str, Any], good: Path, data: Path) -> None:
    evaluated = evaluate_bundle(
        load_classifier(good),
        unseen(data),
        EvaluationConfig(bootstrap=20, seed=3),
        carried=carried_by_alerts(3),
    ).result
    for moment in MOMENTS:
        assert result["stages"][0]["figures"]["objects"][moment] == evaluated[moment]


def test_differences_are_to_the_teacher(result: dict[str, Any]) -> None:
    teacher, _, last = result["stages"]
    for moment in MOMENTS:
        before, after = (s["figures"]["objects"][moment] for s in (teacher, last))
        change = last["against_teacher"]["objects"][moment]
        for name in ("log_loss", "flat_log_loss"):
            expected = after[name]["value"] - before[name]["value"]
            assert change[f"{name}_difference"]["value"] == pytest.approx(expected, abs=2e-5)
        recalls = {
            k: after[f"recall_{k}"]["value"] - before[f"recall_{k}"]["value"]
            for k in change["recall_difference"]
        }
        assert change["worst_class"] == min(recalls, key=lambda name: recalls[name])
        assert teacher["against_teacher"]["objects"][moment]["agreement"] == 1.0


def test_twins_are_also_compared_with_the_last_stage(result: dict[str, Any]) -> None:
    teacher, twin, last = result["stages"]
    assert result["title"] == "last from teacher"
    assert "against_result" not in {**teacher, **last}
    for moment in MOMENTS:
        change = twin["against_result"]["objects"][moment]  # the same model twice
        assert change["agreement"] == 1.0
        assert set(change["log_loss_difference"].values()) == {0.0}


def test_sizes_and_speed_are_there_for_every_length(
    result: dict[str, Any], good: Path, bad: Path
) -> None:
    for row, path in zip(result["stages"], (good, bad, bad), strict=True):
        assert row["sizes"]["file_bytes"] == sizes(path).file_bytes
        cells = [(speed["length"], speed["batch"]) for speed in row["speed"]]
        assert cells == [(8, 1), (8, 64), (32, 1), (32, 64)]
        assert all(speed["ratio"] > 0 for speed in row["speed"])
    assert {speed["ratio"] for speed in result["stages"][0]["speed"]} == {1.0}


def test_the_page_has_all_rows_and_pictures(made: Path, result: dict[str, Any]) -> None:
    page = made.read_text()
    sections = re.findall("<h2>(.*?)</h2>", page)
    assert sections == [
        "Models",
        "Accuracy",
        "Speed",
        "Bytes in the file",
        "Classes, before and after",
    ]
    tables = re.findall("<table>.*?</table>", page.partition("<h2>")[2], re.DOTALL)
    for table in tables[:6]:
        for name in ("teacher", "twin &lt;1&gt;", "last"):
            assert f">{name}</span>" in table
    assert len(tables) == 8
    assert "tinyt2 &lt;make&gt;" in page
    assert "twin <1>" not in page
    for stage in result["stages"]:
        assert f"{stage['sizes']['file_bytes']:,}" in tables[0]
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    names = ("pareto_bytes", "pareto_latency", "classes")
    assert len(pictures) == len(names)
    for picture, name in zip(pictures, names, strict=True):
        content = base64.b64decode(picture)
        assert content == (made.parent / f"{name}.png").read_bytes()
        assert imread(BytesIO(content)).std() > 0.01


def test_the_front_holds_what_nothing_beats() -> None:
    def at(cost: float, loss: float) -> Point:
        return Point(f"{cost}", "stage", cost, (loss, loss, loss))

    best = front([at(3, 0.1), at(1, 0.5), at(2, 0.6), at(2, 0.3), at(4, 0.1)])
    assert [(p.cost, p.loss[0]) for p in best] == [(1, 0.5), (2, 0.3), (3, 0.1)]


def test_names_must_differ(good: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="different names"):
        report([Stage("a", good), Stage("a", good)], {}, tmp_path)
    assert not list(tmp_path.iterdir())
