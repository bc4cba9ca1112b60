"""Real SNe Ia of the ZTF Bright Transient Survey: to measure recall, never to train on.

Fremling et al. 2020, ApJ 895, 32; Perley et al. 2020, ApJ 904, 35. All objects are
supernovae of one survey, so that the survey alone would tell a network the class.

The file ``ztf_bts_snia.parquet`` has one row per detection: ``object``, ``mjd``,
``band`` (g, r or i), ``mag`` and ``magerr`` (AB, difference image), ``class``
(subtype) and ``redshift`` (of the spectrum; its error is not given). There are
neither upper limits nor forced photometry: every observation counts as detected.
Subtypes 91bg and Iax are classes of their own; 91T, CSM and pec count as SNIa.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from models.datasets.fluxes import njy, with_redshift
from models.datasets.labelled import LabelledCurves
from models.datasets.tables import located, number_objects, read_table, real_curves, rows_of_bands
from models.lightcurve import DETECTION, LightCurves

__all__ = ["FILE_NAME", "load_bts"]

FILE_NAME: Final = "ztf_bts_snia.parquet"

_NAME: Final = "real ZTF SNe Ia (Bright Transient Survey, detections only)"
_COLUMNS: Final = {
    "object": "text",
    "mjd": "number",
    "band": "text",
    "mag": "number",
    "magerr": "number",
    "class": "text",
    "redshift": "optional number",
}
_CLASS_OF_KIND: Final = {
    "SN Ia": "SNIa",
    "SN Ia-91T": "SNIa",
    "SN Ia-CSM": "SNIa",
    "SN Ia-pec": "SNIa",
    "SN Ia-91bg": "SNIa-91bg",
    "SN Iax": "SNIax",
}
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the columns {', '.join(_COLUMNS)}; "
    "models/datasets/README.md says how to make it"
)


def load_bts(path: Path) -> LabelledCurves:
    """Read the file, or the one in a folder; `DataError` when it is not as documented."""
    table = read_table(located(path, FILE_NAME), _COLUMNS, _EXPECTED)
    objects = number_objects(table["object"])
    flux, flux_err = njy(table["mag"], table["magerr"])
    curves = LightCurves.from_observations(
        curve=objects.number,
        mjd=table["mjd"],
        band=rows_of_bands(table["band"], "ztf", "gri"),
        flux=flux.astype(np.float32),
        flux_err=flux_err.astype(np.float32),
        rank=np.full(len(flux), DETECTION, np.uint8),
        n_curves=len(objects.names),
    )
    redshift = table["redshift"][objects.first]
    curves = with_redshift(curves, redshift, np.full(len(redshift), np.nan))
    return real_curves(_NAME, objects, curves, table["class"][objects.first], _CLASS_OF_KIND)
