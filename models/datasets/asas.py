"""Real bright variable stars of ASAS: to measure recall, never to train on.

Pojmanski 2002, Acta Astronomica 52, 397; classes of Richards et al. 2012, ApJS 203, 32.

The file ``asas_variables.parquet`` has one row per epoch: ``object`` (a number),
``mjd``, ``band`` (V), ``mag`` and ``magerr`` (Johnson V, Vega, total brightness) and
``class``. Of the 28 classes, those that the taxonomy has are read and the stars of
the others left out. A reference flux per star is subtracted (`difference_fluxes`),
and fluxes of either sign of S/N >= 5 count as detections.

No survey that is served has V, at 5,500 Angstrom. It is read as ``ztf:g``, the
nearest band of ZTF (4,805 Angstrom); with one band there are no colours, so that
these stars test shapes and periods only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from models.datasets.fluxes import difference_fluxes, njy, rank_by_significance
from models.datasets.labelled import LabelledCurves
from models.datasets.tables import located, number_objects, read_table, real_curves
from models.errors import DataError
from models.lightcurve import LightCurves, band_index

__all__ = ["FILE_NAME", "load_asas"]

FILE_NAME: Final = "asas_variables.parquet"

_NAME: Final = "real bright variable stars (ASAS, V read as ztf:g, reference flux subtracted)"
_V_AB_MINUS_VEGA: Final = 0.02
"""Magnitudes; Blanton & Roweis 2007, AJ 133, 734, table 1."""
_COLUMNS: Final = {
    "object": "text",
    "mjd": "number",
    "band": "text",
    "mag": "number",
    "magerr": "number",
    "class": "text",
}
_CLASS_OF_KIND: Final = {
    "Beta_Persei": "EB",
    "Beta_Lyrae": "EB",
    "W_Ursae_Maj": "EB",
    "Mira": "Mira",
    "RR_Lyrae_FM": "RRL",
    "RR_Lyrae_FO": "RRL",
    "RR_Lyrae_DM": "RRL",
    "Classical_Cepheid": "Cepheid",
    "MultiMode_Cepheid": "Cepheid",
    "Delta_Scuti": "d-Sct",
    "SX_Phe": "d-Sct",
}
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the columns {', '.join(_COLUMNS)}; "
    "models/datasets/README.md says how to make it"
)


def load_asas(path: Path, seed: int = 0) -> LabelledCurves:
    """Read the file, or the one in a folder; ``seed`` draws the epochs of the references.

    Raise `DataError` when the file is not as documented.
    """
    table = read_table(located(path, FILE_NAME), _COLUMNS, _EXPECTED)
    if (table["band"] != "V").any():
        raise DataError(f"column band must be V everywhere: {_EXPECTED}", np.unique(table["band"]))
    read = np.isin(table["class"], list(_CLASS_OF_KIND))
    table = {name: column[read] for name, column in table.items()}
    objects = number_objects(table["object"])
    band = np.full(len(table["mjd"]), band_index("ztf", "g"), np.uint8)
    total, flux_err = njy(table["mag"] + _V_AB_MINUS_VEGA, table["magerr"])
    flux = difference_fluxes(objects.number, band, table["mjd"], total, seed)
    curves = LightCurves.from_observations(
        curve=objects.number,
        mjd=table["mjd"],
        band=band,
        flux=flux.astype(np.float32),
        flux_err=flux_err.astype(np.float32),
        rank=rank_by_significance(flux, flux_err),
        n_curves=len(objects.names),
    )
    return real_curves(_NAME, objects, curves, table["class"][objects.first], _CLASS_OF_KIND)
