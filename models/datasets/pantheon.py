"""Real SNe Ia of Pantheon+ with forced fluxes: to measure recall, never to train on.

Scolnic et al. 2022, ApJ 938, 113; Brout et al. 2022, ApJ 938, 110. All objects are
of one class. SALT, which simulated SNe Ia are made with, was trained on some of them.

The file ``pantheonplus_snia.parquet`` has one row per observation: ``object``,
``survey``, ``mjd``, ``band``, ``flux`` and ``flux_err`` (FLUXCAL), ``zp`` (27.5) and
``z`` (heliocentric, of a spectrum; its error is not given). Read are g, r, i, z of
the surveys whose zero points are AB: DES3YR with the bands of DES, Foundation and
PS1-MD with those of Pan-STARRS1, and SNLS with those of Pan-STARRS1 too, the nearest
to MegaCam's. Fluxes of S/N >= 5 count as detections, the others as forced photometry.

A supernova that several surveys followed is one curve each, of the same group.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from models.datasets.fluxes import (
    FLUXCAL_ZERO_POINT,
    NJY_PER_FLUXCAL,
    rank_by_significance,
    with_redshift,
)
from models.datasets.labelled import LabelledCurves
from models.datasets.tables import Objects, located, number_objects, read_table, real_curves
from models.errors import DataError
from models.lightcurve import LightCurves, band_index

__all__ = ["FILE_NAME", "load_pantheon"]

FILE_NAME: Final = "pantheonplus_snia.parquet"

_NAME: Final = "real SNe Ia (Pantheon+: DES3YR, Foundation, PS1-MD, SNLS)"
_COLUMNS: Final = {
    "object": "text",
    "survey": "text",
    "mjd": "number",
    "band": "text",
    "flux": "number",
    "flux_err": "number",
    "zp": "number",
    "z": "optional number",
}
_BANDS_OF_SURVEY: Final = {"DES3YR": "des", "Foundation": "ps1", "PS1-MD": "ps1", "SNLS": "ps1"}
_BANDS: Final = "griz"
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the columns {', '.join(_COLUMNS)}; "
    "models/datasets/README.md says how to make it"
)


def load_pantheon(path: Path) -> LabelledCurves:
    """Read the file, or the one in a folder; `DataError` when it is not as documented."""
    table = read_table(located(path, FILE_NAME), _COLUMNS, _EXPECTED)
    read = np.isin(table["survey"], list(_BANDS_OF_SURVEY)) & np.isin(table["band"], list(_BANDS))
    table = {name: column[read] for name, column in table.items()}
    if (table["zp"] != FLUXCAL_ZERO_POINT).any():
        raise DataError(f"column zp must be {FLUXCAL_ZERO_POINT}: {_EXPECTED}", table["zp"])
    names = np.char.add(np.char.add(table["survey"], " "), table["object"])
    objects = number_objects(names)
    redshift = table["z"][objects.first]
    curves = with_redshift(_curves(table, objects), redshift, np.full(len(redshift), np.nan))
    kinds = np.full(len(curves), "SNIa")
    groups = table["object"][objects.first]
    return real_curves(_NAME, objects, curves, kinds, {"SNIa": "SNIa"}, groups)


def _curves(table: dict[str, Any], objects: Objects) -> LightCurves:
    band = np.zeros(len(table["mjd"]), np.uint8)
    for survey, bands in _BANDS_OF_SURVEY.items():
        for name in _BANDS:
            rows = (table["survey"] == survey) & (table["band"] == name)
            band[rows] = band_index(bands, name)
    flux, flux_err = table["flux"] * NJY_PER_FLUXCAL, table["flux_err"] * NJY_PER_FLUXCAL
    return LightCurves.from_observations(
        curve=objects.number,
        mjd=table["mjd"],
        band=band,
        flux=flux.astype(np.float32),
        flux_err=flux_err.astype(np.float32),
        rank=rank_by_significance(flux, flux_err),
        n_curves=len(objects.names),
    )
