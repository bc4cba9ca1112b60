"""Variable stars and active galaxies."""

from __future__ import annotations

from pathlib import Path

from models.simulate.source import Population
from models.simulate.variables.agn import agn
from models.simulate.variables.rrlyrae import rr_lyrae

__all__ = ["variable_populations"]


def variable_populations(inputs: Path, ztf_stars: Path | None = None) -> list[Population]:
    """Return the classes whose total flux varies; ``ztf_stars`` as in `ztf_stars`."""
    return [agn(), rr_lyrae(inputs, ztf_stars)]
