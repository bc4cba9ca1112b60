"""Variable stars and active galaxies."""

from __future__ import annotations

from pathlib import Path

from models.simulate.source import Population
from models.simulate.variables.agn import agn
from models.simulate.variables.dwarfnova import dwarf_novae
from models.simulate.variables.eclipsing import eclipsing_binaries
from models.simulate.variables.flare import m_dwarf_flares
from models.simulate.variables.microlens import microlensing
from models.simulate.variables.mira import miras
from models.simulate.variables.pulsators import cepheids, delta_scuti
from models.simulate.variables.rrlyrae import rr_lyrae

__all__ = ["variable_populations"]


def variable_populations(inputs: Path, ztf_stars: Path | None = None) -> list[Population]:
    """Return the classes whose total flux varies; ``ztf_stars`` as in `ztf_stars`.

    Raise `DataError` for files that are missing or not as documented.
    """
    return [
        agn(),
        rr_lyrae(inputs, ztf_stars),
        eclipsing_binaries(),
        miras(),
        m_dwarf_flares(),
        microlensing(),
        cepheids(ztf_stars),
        delta_scuti(ztf_stars),
        dwarf_novae(),
    ]
