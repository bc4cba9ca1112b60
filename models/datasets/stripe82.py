"""Real RR Lyrae stars of SDSS Stripe 82: to measure recall, never to train on.

Sesar et al. 2010, ApJ 708, 717. All objects are of one class and one survey.

The file ``s82_rrlyrae.parquet`` has one row per epoch: ``object`` (a number),
``mjd``, ``band`` (u, g, r, i or z), ``mag`` and ``magerr`` (AB, total brightness)
and ``class`` (RRLab or RRLc). Alerts tell differences: a reference flux per star
and band is subtracted (`difference_fluxes`), and fluxes of either sign of S/N >= 5
count as detections.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from models.datasets.fluxes import difference_fluxes, njy, rank_by_significance
from models.datasets.labelled import LabelledCurves
from models.datasets.tables import located, number_objects, read_table, real_curves, rows_of_bands
from models.lightcurve import LightCurves

__all__ = ["FILE_NAME", "load_stripe82"]

FILE_NAME: Final = "s82_rrlyrae.parquet"

_NAME: Final = "real RR Lyrae stars (SDSS Stripe 82, reference flux subtracted)"
_COLUMNS: Final = {
    "object": "text",
    "mjd": "number",
    "band": "text",
    "mag": "number",
    "magerr": "number",
    "class": "text",
}
_CLASS_OF_KIND: Final = {"RRLab": "RRL", "RRLc": "RRL"}
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the columns {', '.join(_COLUMNS)}; "
    "models/datasets/README.md says how to make it"
)


def load_stripe82(path: Path, seed: int = 0) -> LabelledCurves:
    """Read the file, or the one in a folder; ``seed`` draws the epochs of the references.

    Raise `DataError` when the file is not as documented.
    """
    table = read_table(located(path, FILE_NAME), _COLUMNS, _EXPECTED)
    objects = number_objects(table["object"])
    band = rows_of_bands(table["band"], "sdss", "ugriz")
    total, flux_err = njy(table["mag"], table["magerr"])
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
