"""Inputs of the simulator, made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.simulate.observatory import Observatory, open_observatory
from tests.models.simulate.cadence_inputs import write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("sim") / "inputs")


@pytest.fixture(scope="session", params=["ztf", "lsst"])
def observatory(request: pytest.FixtureRequest, inputs: Path) -> Observatory:
    return open_observatory(inputs, request.param)


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """Real cadences, templates and noise: the folder ``sim`` below ``TINYT2_DATA``."""
    if "TINYT2_DATA" not in os.environ:
        pytest.skip("TINYT2_DATA names no folder of data")
    return Path(os.environ["TINYT2_DATA"]) / "sim"
