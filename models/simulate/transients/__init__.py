"""Extragalactic transients: supernovae, tidal disruptions and kilonovae."""

from __future__ import annotations

from pathlib import Path

from models.simulate.source import Population
from models.simulate.transients.corecollapse import hydrogen_poor, hydrogen_rich
from models.simulate.transients.disruption import tidal_disruption
from models.simulate.transients.kilonova import kilonova
from models.simulate.transients.magnetar import superluminous
from models.simulate.transients.peculiar import fast_ia, iax
from models.simulate.transients.photometry import Photometry
from models.simulate.transients.thermonuclear import normal_ia

__all__ = ["transient_populations"]


def transient_populations(inputs: Path) -> list[Population]:
    """Return the populations of transients, made from the files in ``inputs``.

    ``bandpasses.npz`` is read now; the spectra of ``sed`` are tabulated when a population is
    first drawn from. `DataError` when a file does not have the documented arrays.
    """
    photometry = Photometry(inputs / "bandpasses.npz")
    return [
        normal_ia(inputs, photometry),
        fast_ia(inputs, photometry),
        iax(inputs, photometry),
        hydrogen_poor(inputs, photometry),
        hydrogen_rich(inputs, photometry),
        superluminous(photometry),
        tidal_disruption(photometry),
        kilonova(photometry),
    ]
