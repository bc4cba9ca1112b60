"""Simulated DES supernovae of the Supernova Photometric Classification Challenge.

Kessler et al. 2010, PASP 122, 1415 (arXiv 1008.1024). The folder holds
``spcc_train.npz`` with these arrays:

=========  ================================================================
``obj``    [n] structured: ``snid`` integer, ``type`` (Ia, II, IIn, IIP, IIL,
           Ib, Ic or Ibc) and ``model`` (the simulation template) strings,
           ``hz`` and ``hzerr`` photometric redshift of the host and its error;
           further fields, the spectroscopic redshift too, are not read
``offset`` [n + 1] first observation of each object, and the end
``mjd``    [m] days
``band``   [m] 0 g, 1 r, 2 i, 3 z
``flux``   [m] FLUXCAL (zero point 27.5), and its error ``err``
=========  ================================================================

The challenge has no detection flag: fluxes above `DETECTION_SNR` count as
detections, the others as forced photometry.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.datasets.fluxes import NJY_PER_FLUXCAL, with_redshift
from models.datasets.labelled import LabelledCurves
from models.errors import DataError
from models.lightcurve import DETECTION, DETECTION_SNR, FORCED, LightCurves, band_index

__all__ = ["FILE_NAME", "load_spcc"]

FILE_NAME: Final = "spcc_train.npz"

_NAME: Final = "simulated DES supernovae (SPCC, Kessler et al. 2010)"
_BANDS: Final = "griz"
_CLASSES: Final = ("SNIa", "SNIbc", "SNII")
_CLASS_OF_TYPE: Final = {
    "Ia": "SNIa",
    "Ib": "SNIbc",
    "Ic": "SNIbc",
    "Ibc": "SNIbc",
    "II": "SNII",
    "IIn": "SNII",
    "IIL": "SNII",
    "IIP": "SNII",
}
_ARRAYS: Final = ("obj", "offset", "mjd", "band", "flux", "err")
_FIELDS: Final = ("snid", "type", "model", "hz", "hzerr")
_EXPECTED: Final = (
    f"the folder must contain {FILE_NAME} with the arrays {', '.join(_ARRAYS)} "
    f"(obj with the fields {', '.join(_FIELDS)}), made from the public light curves of the "
    "Supernova Photometric Classification Challenge (Kessler et al. 2010, arXiv 1008.1024); "
    "models/datasets/spcc.py describes them"
)


def load_spcc(folder: Path) -> LabelledCurves:
    """Read ``spcc_train.npz`` in a folder into three classes: SNIa, SNIbc and SNII.

    Raise `DataError` when the file or an array is missing or not as documented.
    """
    arrays = _read(folder / FILE_NAME)
    objects = arrays["obj"]
    groups, group = np.unique(objects["model"], return_inverse=True)
    return LabelledCurves(
        name=_NAME,
        curves=with_redshift(_curves(arrays), *_host_redshifts(objects)),
        classes=_CLASSES,
        label=_labels(objects["type"]),
        group=group.astype(np.int64),
        groups=tuple(str(name) for name in groups),
        object_id=objects["snid"].astype(np.int64),
    )


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _ARRAYS if name not in archive]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}: {_EXPECTED}", missing)
            arrays = {name: archive[name] for name in _ARRAYS}
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): {_EXPECTED}", path) from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an npz archive: {_EXPECTED}", path) from error
    fields = arrays["obj"].dtype.names or ()
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise DataError(f"obj of {path} lacks {', '.join(missing)}: {_EXPECTED}", missing)
    return arrays


def _host_redshifts(
    objects: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return photometric redshifts [n] and errors [n], NaN for the challenge's -9."""
    redshift = objects["hz"].astype(np.float64)
    error = objects["hzerr"].astype(np.float64)
    known = redshift > 0
    return np.where(known, redshift, np.nan), np.where(known & (error > 0), error, np.nan)


def _labels(types: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    names, which = np.unique(types, return_inverse=True)
    unknown = sorted({str(name) for name in names} - set(_CLASS_OF_TYPE))
    if unknown:
        raise DataError(
            f"unknown supernova types {unknown}; known: {', '.join(_CLASS_OF_TYPE)}", unknown
        )
    rows = [_CLASSES.index(_CLASS_OF_TYPE[str(name)]) for name in names]
    return np.array(rows, np.int64)[which]


def _curves(arrays: dict[str, npt.NDArray[Any]]) -> LightCurves:
    offset = arrays["offset"].astype(np.int64)
    n = len(arrays["obj"])
    lengths = {name: len(arrays[name]) for name in ("mjd", "band", "flux", "err")}
    if len(offset) != n + 1 or set(lengths.values()) != {int(offset[-1])}:
        raise DataError(f"offset ends at {offset[-1]} for {n} objects, columns: {lengths}", lengths)
    band = arrays["band"].astype(np.int64)
    if band.min(initial=0) < 0 or band.max(initial=0) >= len(_BANDS):
        raise DataError(f"band must be 0..{len(_BANDS) - 1} for {_BANDS}", np.unique(band))
    table = np.array([band_index("des", name) for name in _BANDS], np.uint8)
    flux = arrays["flux"].astype(np.float64) * NJY_PER_FLUXCAL
    error = arrays["err"].astype(np.float64) * NJY_PER_FLUXCAL
    return LightCurves.from_observations(
        curve=np.repeat(np.arange(n), np.diff(offset)),
        mjd=arrays["mjd"].astype(np.float64),
        band=table[band],
        flux=flux.astype(np.float32),
        flux_err=error.astype(np.float32),
        rank=np.where(flux > DETECTION_SNR * error, DETECTION, FORCED).astype(np.uint8),
        n_curves=n,
    )
