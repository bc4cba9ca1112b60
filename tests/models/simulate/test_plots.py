"""Pictures of classes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import MissingExtraError
from models.simulate.plots import plot_classes
from models.simulate.simulation import simulate
from models.simulate.variables.agn import agn
from models.simulate.variables.microlens import microlensing

_PNG = b"\x89PNG"


def test_one_picture_per_class(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    classes = {"AGN": agn(), "mu-Lens": microlensing()}
    data = simulate(5, "lsst", 1, inputs, classes=classes)
    paths = plot_classes(data, tmp_path / "plots")
    assert [path.name for path in paths] == ["AGN.png", "mu-Lens.png"]
    pictures = [path.read_bytes() for path in paths]
    assert all(picture.startswith(_PNG) for picture in pictures)
    assert pictures[0] != pictures[1]
    width, height = np.frombuffer(pictures[0][16:24], ">u4")
    assert width > 1000 and height > 200


def test_without_matplotlib_the_extra_is_named(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    data = simulate(2, "lsst", 1, inputs, classes={"AGN": agn()})
    with pytest.raises(MissingExtraError, match="simulate --plots"):
        plot_classes(data, tmp_path)
