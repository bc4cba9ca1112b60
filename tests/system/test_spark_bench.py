"""``tinyt2 bench fink`` from the command line; fink-science itself is not on every machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deploy.bench.fink_peers import fink_peers
from deploy.cli import app
from models.errors import ConfigurationError

pytestmark = pytest.mark.system

OURS = {
    "fink_module",
    "fink_module_spark",
    "fink_nested_spark",
    "fink_packets_spark",
    "fink_module_vs_pass_through",
    "fink_packets_vs_pass_through",
}
# A package of the same names and arguments: it shows that the frame arrives as Spark has it.
# It takes 10 ms of the processor per alert, the least that the system's clock can see.
PROCESSOR = """
import time

def extract_features_ad_raw(
    magpsf, jd, sigmapsf, cfid, oId, distnr, magnr=None, sigmagnr=None, isdiffpos=None
):
    assert magpsf.dtype == jd.dtype == sigmapsf.dtype == distnr.dtype == "float64", magpsf
    assert cfid.dtype == "int32" and len(cfid) == len(jd) == len(isdiffpos) > 3
    assert oId.startswith("ZTF")
    print("noise on standard output")
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    return {1: {}}
"""


@pytest.fixture
def fink_python(tmp_path: Path) -> Path:
    """Return an interpreter with one module of the name of one of fink-science."""
    folder = tmp_path / "packages" / "fink_science" / "ztf" / "ad_features"
    folder.mkdir(parents=True)
    (folder / "processor.py").write_text(PROCESSOR)
    python = tmp_path / "python"
    # Without -I, which would leave the folder out.
    python.write_text(
        f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path / "packages"} exec {sys.executable} -P "$@"\n'
    )
    python.chmod(0o755)
    return python


def test_spark_bench_measures_ours_and_what_the_other_interpreter_has(
    fink_python: Path, tmp_path: Path
) -> None:
    path = tmp_path / "fink.json"
    arguments = ["bench", "fink", "--rounds", "1", "--alerts", "4000", "--packets", "100"]
    arguments += ["--fink-python", str(fink_python), "--json", str(path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    assert {row["name"] for row in rows} == OURS | {"fink_vs_ad_features"}
    for row in rows:
        assert row["n"] == 1
        # The module without Spark is the least of them: 100 us and more, at 10 ms a tick.
        assert np.isfinite(row["value"]) and row["value"] > 0, row
        assert row["peer_value"] is not None and row["peer"], row
    assert "left out: snn of fink-science: ModuleNotFoundError" in " ".join(done.output.split())


@pytest.mark.parametrize("python", ["absent", sys.executable])
def test_spark_bench_says_when_an_interpreter_has_nothing_to_measure(
    python: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"candid": [1], "cjd": [[1.0]], "roid": [0], "cdsxmatch": ["Unknown"]})
    refused = pytest.raises(ConfigurationError, match=r"cannot run|has no module to measure")
    with refused, fink_peers(Path(python), frame):
        pass
