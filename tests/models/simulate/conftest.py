"""Inputs of the simulator: made-up ones for every test, real ones where there are any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.simulate.observatory import Observatory, open_observatory
from models.simulate.source import Population
from models.simulate.transients import transient_populations
from tests.models.simulate import cadence_inputs
from tests.models.simulate import inputs as spectral_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of made-up inputs of every kind."""
    folder = cadence_inputs.write_inputs(tmp_path_factory.mktemp("sim") / "inputs")
    return spectral_inputs.write_inputs(folder)


@pytest.fixture(scope="session")
def transients(inputs: Path) -> dict[str, Population]:
    """Populations made from them; their tables are built once."""
    return {p.name: p for p in transient_populations(inputs)}


@pytest.fixture(scope="session", params=["ztf", "lsst"])
def observatory(request: pytest.FixtureRequest, inputs: Path) -> Observatory:
    return open_observatory(inputs, request.param)


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """Folder of the real inputs: ``sim`` below the folder that TINYT2_DATA names."""
    folder = Path(os.environ.get("TINYT2_DATA", "")) / "sim"
    if not (folder / "sed").is_dir():
        pytest.skip("TINYT2_DATA names no folder with the simulator's inputs")
    return folder
