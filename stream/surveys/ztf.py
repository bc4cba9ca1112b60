"""Alerts of the Zwicky Transient Facility (Masci et al. 2019, PASP 131, 018003).

Photometry is in AB magnitudes of the difference image with the sign kept apart;
forced photometry (schema 4.01 and later) in data units with a zero point.
"""

from __future__ import annotations

import math
from typing import Final

from models.lightcurve import AB_ZERO_POINT_NJY, DETECTION, FORCED, UPPER_LIMIT, band_index
from stream.avro.writer import Record, WriterSchema
from stream.columns import AlertColumns
from stream.refusal import Refusal
from stream.surveys.fields import (
    MAX_ABS_MJD,
    RecordFields,
    entries,
    finite,
    integer,
    invalid,
    number,
    subrecord,
    text,
)

__all__ = ["SOLAR_SYSTEM_ARCSEC", "Ztf"]

SOLAR_SYSTEM_ARCSEC: Final = 5.0
"""Within this distance of a known solar-system object, the source is taken to be it.

ZTF looks for one within 30 arcsec; 5 is what the Fink broker uses (Moeller et
al. 2021, MNRAS 501, 3272; Le Montagner et al. 2023, A&A 680, A17).
"""

_JD_MJD: Final = 2400000.5
_BANDS: Final = {fid: band_index("ztf", name) for fid, name in ((1, "g"), (2, "r"), (3, "i"))}
_SIGNS: Final = {"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0}
_MAGNITUDES: Final = (-10.0, 50.0)
"""Beyond lie the survey's markers for no value: -99, -999, ..."""
_MAX_SIGMA_MAG: Final = 100.0
_NO_FORCED_FLUX: Final = -9999.0
_LIMIT_SIGMAS: Final = 5.0
_PHOTOMETRY: Final = ("jd", "fid", "magpsf", "sigmapsf", "isdiffpos")


class Ztf:
    """ZTF alerts, writer schemas 1.8 to 4.02."""

    name: Final = "ztf"
    uses: Final = (
        RecordFields("", ("objectId", "candid", "candidate"), ("prv_candidates", "fp_hists")),
        RecordFields("candidate", _PHOTOMETRY, ("ssdistnr",)),
        RecordFields("prv_candidates", (*_PHOTOMETRY, "diffmaglim"), may_be_absent=True),
        RecordFields(
            "fp_hists",
            ("jd", "fid", "forcediffimflux", "forcediffimfluxunc", "magzpsci"),
            may_be_absent=True,
        ),
    )

    def recognises(self, schema: WriterSchema) -> bool:
        """Tell ZTF from the surveys that borrowed its schema and have no ``fid``."""
        return {"magpsf", "fid"} <= (schema.fields("candidate") or frozenset())

    def append(self, alert: Record, columns: AlertColumns) -> None:
        """Append one alert; see `Survey.append`."""
        candidate = subrecord(alert, "candidate")
        mjd = _mjd(candidate)
        detection = _detection(candidate)
        candid = integer(alert, "candid")
        columns.add_alert(
            candid,
            candid,
            text(alert, "objectId"),
            mjd,
            solar_system=_is_solar_system(candidate),
        )
        columns.add_observation(mjd, _band(candidate), *detection, DETECTION)
        for entry in entries(alert, "prv_candidates"):
            _append_previous(entry, mjd, columns)
        for entry in entries(alert, "fp_hists"):
            _append_forced(entry, mjd, columns)


def _append_previous(entry: Record, trigger_mjd: float, columns: AlertColumns) -> None:
    """Append a previous detection or upper limit, unless it is later or unusable."""
    try:
        mjd, band = _mjd(entry), _band(entry)
        if entry.get("magpsf") is None:
            flux, flux_err, rank = 0.0, _upper_limit_njy(entry) / _LIMIT_SIGMAS, UPPER_LIMIT
        else:
            (flux, flux_err), rank = _detection(entry), DETECTION
    except Refusal:
        return
    if mjd <= trigger_mjd:
        columns.add_observation(mjd, band, flux, flux_err, rank)


def _append_forced(entry: Record, trigger_mjd: float, columns: AlertColumns) -> None:
    """Append a forced flux, unless it is later or unusable, as more than half are."""
    flux = finite(entry.get("forcediffimflux"))
    flux_err = finite(entry.get("forcediffimfluxunc"))
    if flux is None or flux <= _NO_FORCED_FLUX or flux_err is None or flux_err <= 0:
        return
    try:
        mjd, band = _mjd(entry), _band(entry)
        zero_point = number(entry, "magzpsci", *_MAGNITUDES)
    except Refusal:
        return
    njy = 10.0 ** ((AB_ZERO_POINT_NJY - zero_point) / 2.5)
    if mjd <= trigger_mjd:
        columns.add_observation(mjd, band, flux * njy, flux_err * njy, FORCED)


def _detection(source: Record) -> tuple[float, float]:
    """Return flux and error, nJy; `Refusal` when one of their fields is unusable."""
    flux = _flux_njy(number(source, "magpsf", *_MAGNITUDES))
    sigma = number(source, "sigmapsf", 0.0, _MAX_SIGMA_MAG)
    if sigma == 0:
        invalid("sigmapsf", sigma, "larger than 0")
    return _sign(source) * flux, flux * sigma * math.log(10.0) / 2.5


def _upper_limit_njy(source: Record) -> float:
    return _flux_njy(number(source, "diffmaglim", *_MAGNITUDES))


def _flux_njy(magnitude: float) -> float:
    return float(10.0 ** ((AB_ZERO_POINT_NJY - magnitude) / 2.5))


def _sign(source: Record) -> float:
    positive = source.get("isdiffpos")
    if isinstance(positive, bool):
        return 1.0 if positive else -1.0
    if not isinstance(positive, str) or positive not in _SIGNS:
        invalid("isdiffpos", positive, f"one of {', '.join(_SIGNS)}")
    return _SIGNS[positive]


def _band(source: Record) -> int:
    fid = source.get("fid")
    if not isinstance(fid, int) or fid not in _BANDS:
        invalid("fid", fid, "1, 2 or 3")
    return _BANDS[fid]


def _mjd(source: Record) -> float:
    return number(source, "jd", -MAX_ABS_MJD, MAX_ABS_MJD) - _JD_MJD


def _is_solar_system(candidate: Record) -> bool:
    distance = finite(candidate.get("ssdistnr"))
    return distance is not None and 0.0 <= distance < SOLAR_SYSTEM_ARCSEC
