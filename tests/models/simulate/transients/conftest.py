"""Inputs of the simulator: made-up ones for every test, real ones where there are any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.simulate.source import Population
from models.simulate.transients import transient_populations
from tests.models.simulate.inputs import write_inputs


@pytest.fixture(scope="session")
def sed_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of made-up bandpasses and spectra."""
    return write_inputs(tmp_path_factory.mktemp("sim"))


@pytest.fixture(scope="session")
def transients(sed_inputs: Path) -> dict[str, Population]:
    """Populations made from them; their tables are built once."""
    return {p.name: p for p in transient_populations(sed_inputs)}


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """Folder with the real spectra: ``sim`` below the folder that TINYT2_DATA names."""
    folder = Path(os.environ.get("TINYT2_DATA", "")) / "sim"
    if not (folder / "sed").is_dir():
        pytest.skip("TINYT2_DATA names no folder with the real spectra")
    return folder
