"""When and how deep ZTF and LSST looked at random positions of the sky.

Below the folder of inputs, ``cadence/`` holds for each survey a table of exposures and
one of positions:

=========================  ==========================================================
``ztf_pointings.parquet``  ``position``, ``mjd``, ``band`` (g, r, i), ``limmag``
``ztf_positions.csv``      ``position``, ``ra_deg``, ``dec_deg``
``rubin_visits.parquet``   ``position``, ``mjd``, ``band`` (u to y), ``m5``
``rubin_positions.csv``    the same and ``kind``: WFD, or DDF for deep fields
=========================  ==========================================================

Depths are 5-sigma AB magnitudes of point sources. Sources: the ZTF pointing table and
OpSim baseline v3.0 as redistributed by redback (Sarin et al. 2024, MNRAS 531, 1203).

Notation: P positions, V exposures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from models.errors import ConfigurationError, DataError
from models.lightcurve import band_index

__all__ = ["SURVEYS", "Cadence", "load_cadence"]

SURVEYS: Final = ("ztf", "lsst")
"""The surveys that can be simulated."""

_FILES: Final = {
    "ztf": ("ztf_pointings.parquet", "ztf_positions.csv", "limmag"),
    "lsst": ("rubin_visits.parquet", "rubin_positions.csv", "m5"),
}
_NOISE_FILE: Final = "ztf_noise.json"
_EXPECTED: Final = "models/simulate/cadence.py describes the files that the inputs must hold"
_STRIDE: Final = 1e6  # days between the keys of neighbouring positions; more than any MJD
_LSST_NIGHT_ENDS: Final = 0.5  # noon in Chile is MJD .67; ZTF's nights lie within one MJD
_ZTF_TIME_STEP: Final = 1 / 256  # the table is rounded to it
_ZTF_I_SHALLOWER: Final = 0.3  # magnitudes; ztf_noise.json measured g and r only
_POLE_RA_DEG, _POLE_DEC_DEG = 192.85948, 27.12825  # north galactic pole, J2000


@dataclass(frozen=True, slots=True)
class Cadence:
    """The exposures of P positions, those of one position together and in order of time."""

    survey: str
    splits: npt.NDArray[np.int64]
    """[P + 1] first exposure of each position, and the end."""
    mjd: npt.NDArray[np.float64]
    """[V] days."""
    band: npt.NDArray[np.uint8]
    """[V] row of `models.lightcurve.BANDS`."""
    depth: npt.NDArray[np.float32]
    """[V] 5-sigma limiting AB magnitude of the (difference) image."""
    latitude: npt.NDArray[np.float64]
    """[P] absolute galactic latitude, degrees."""

    def window(
        self,
        position: npt.NDArray[np.int64],
        start: npt.NDArray[np.float64],
        end: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the first exposure from ``start`` on and the first after ``end`` (MJD), [n]."""
        owner = np.repeat(np.arange(len(self.latitude)), np.diff(self.splits))
        key = owner * _STRIDE + self.mjd
        first = np.searchsorted(key, position * _STRIDE + start, side="left")
        last = np.searchsorted(key, position * _STRIDE + end, side="right")
        return first.astype(np.int64), last.astype(np.int64)


def load_cadence(inputs: Path, survey: str) -> Cadence:
    """Read the exposures of a survey.

    ZTF's depths are mapped, rank by rank, to the limits of difference images that
    real alerts show (``ztf_noise.json``); visits of LSST's deep fields are stacked per
    night and band. Raise `ConfigurationError` for an unknown survey, `DataError` for
    files that are missing or not as documented.
    """
    if survey not in SURVEYS:
        raise ConfigurationError(f"no survey {survey!r}; known: {', '.join(SURVEYS)}", survey)
    exposures_name, positions_name, depth_name = _FILES[survey]
    table = _read(inputs / "cadence" / exposures_name, ("position", "mjd", "band", depth_name))
    sky = _read(inputs / "cadence" / positions_name, ("position", "ra_deg", "dec_deg"))
    columns = _columns(table, depth_name, survey)
    if survey == "ztf":
        columns["mjd"] = _spread(columns["mjd"])
        columns["depth"] = _difference_depth(columns, inputs / _NOISE_FILE)
    else:
        columns = _stacked(columns, _deep_positions(sky))
    return _sorted(columns, sky, survey)


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot read {path}: {error}; {_EXPECTED}", path) from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; {_EXPECTED}", missing)
    return table


def _columns(table: pa.Table, depth_name: str, survey: str) -> dict[str, npt.NDArray[Any]]:
    names, which = np.unique(table["band"].to_numpy().astype(str), return_inverse=True)
    rows = np.array([band_index(survey, str(name)) for name in names], np.uint8)
    return {
        "position": table["position"].to_numpy().astype(np.int64),
        "mjd": table["mjd"].to_numpy().astype(np.float64),
        "band": rows[which],
        "depth": table[depth_name].to_numpy().astype(np.float64),
    }


def _spread(mjd: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Undo the rounding of ZTF's times at random, always in the same way."""
    rng = np.random.default_rng(0)
    return mjd + rng.uniform(-0.5, 0.5, len(mjd)) * _ZTF_TIME_STEP


def _difference_depth(columns: dict[str, npt.NDArray[Any]], path: Path) -> npt.NDArray[np.float64]:
    """Give each exposure the limit of difference images with the same rank in its band."""
    try:
        limits = json.loads(path.read_text())["diffmaglim"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read diffmaglim of {path}: {error!r}; {_EXPECTED}", path) from None
    depth = np.empty(len(columns["depth"]))
    for name, like, fainter in (("g", "g", 0.0), ("r", "r", 0.0), ("i", "r", _ZTF_I_SHALLOWER)):
        rows = np.flatnonzero(columns["band"] == band_index("ztf", name))
        rank = np.empty(len(rows))
        rank[np.argsort(columns["depth"][rows], kind="stable")] = np.arange(len(rows)) + 0.5
        total = np.concatenate([[0.0], np.cumsum(limits[like]["hist"])])
        edges = np.asarray(limits[like]["hist_edges"], np.float64)
        depth[rows] = np.interp(rank / max(len(rows), 1), total / total[-1], edges) - fainter
    return depth


def _deep_positions(sky: pa.Table) -> npt.NDArray[np.int64]:
    if "kind" not in sky.column_names:
        return np.zeros(0, np.int64)
    deep = np.asarray(sky["kind"].to_pylist()) == "DDF"
    return np.asarray(sky["position"].to_numpy()[deep], np.int64)


def _stacked(
    columns: dict[str, npt.NDArray[Any]], deep: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Stack the visits of deep fields per night and band (inverse variances add up)."""
    is_deep = np.isin(columns["position"], deep)
    part = {name: column[is_deep] for name, column in columns.items()}
    night = np.floor(part["mjd"] + _LSST_NIGHT_ENDS).astype(np.int64)
    stack = (part["position"] << 32) | (night << 8) | part["band"]
    _, first, which = np.unique(stack, return_index=True, return_inverse=True)
    count = np.bincount(which)
    part = {
        "position": part["position"][first],
        "mjd": np.bincount(which, part["mjd"]) / np.maximum(count, 1),
        "band": part["band"][first],
        "depth": 1.25 * np.log10(np.bincount(which, 10 ** (0.8 * part["depth"]))),
    }
    return {name: np.concatenate([columns[name][~is_deep], part[name]]) for name in columns}


def _sorted(columns: dict[str, npt.NDArray[Any]], sky: pa.Table, survey: str) -> Cadence:
    known = np.asarray(sky["position"].to_numpy(), np.int64)
    used, position = np.unique(columns["position"], return_inverse=True)
    place = np.searchsorted(known, used, sorter=np.argsort(known))
    row = np.argsort(known)[np.minimum(place, len(known) - 1)]
    if (known[row] != used).any():
        raise DataError(f"positions of {survey} without coordinates; {_EXPECTED}", survey)
    order = np.lexsort((columns["mjd"], position))
    splits = np.concatenate([[0], np.cumsum(np.bincount(position))]).astype(np.int64)
    return Cadence(
        survey=survey,
        splits=splits,
        mjd=columns["mjd"][order],
        band=columns["band"][order],
        depth=columns["depth"][order].astype(np.float32),
        latitude=_latitude(sky["ra_deg"].to_numpy()[row], sky["dec_deg"].to_numpy()[row]),
    )


def _latitude(
    ra_deg: npt.NDArray[np.float64], dec_deg: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    ra, dec = np.radians(ra_deg - _POLE_RA_DEG), np.radians(dec_deg)
    pole = np.radians(_POLE_DEC_DEG)
    sine = np.sin(dec) * np.sin(pole) + np.cos(dec) * np.cos(pole) * np.cos(ra)
    return np.abs(np.degrees(np.arcsin(sine)))
