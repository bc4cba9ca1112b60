"""Alerts of the Zwicky Transient Facility (Masci et al. 2019, PASP 131, 018003).

Photometry is in AB magnitudes of the difference image with the sign kept apart;
forced photometry (schema 4.01 and later) in data units with a zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from models.lightcurve import AB_ZERO_POINT_NJY, DETECTION, FORCED, UPPER_LIMIT, band_index
from stream.avro.projection import ALERT, AlertSchema, Kind, RecordFields
from stream.avro.tables import Rows
from stream.surveys.survey import MAX_ABS_MJD, MAX_ID_LENGTH, Observations, SurveyAlerts

__all__ = ["SOLAR_SYSTEM_ARCSEC", "Ztf"]

SOLAR_SYSTEM_ARCSEC: Final = 5.0
"""Within this distance of a known solar-system object, the source is taken to be it.

ZTF looks for one within 30 arcsec; 5 is what the Fink broker uses (Moeller et
al. 2021, MNRAS 501, 3272; Le Montagner et al. 2023, A&A 680, A17).
"""

_JD_MJD: Final = 2400000.5
_BANDS: Final = {fid: band_index("ztf", name) for fid, name in ((1, "g"), (2, "r"), (3, "i"))}
_SIGNS: Final = {"t": 1.0, "f": -1.0, "1": 1.0, "0": -1.0}
_MAGNITUDES: Final = (-10.0, 50.0)
"""Beyond lie the survey's markers for no value: -99, -999, ..."""
_MAX_SIGMA_MAG: Final = 100.0
_LEAST_FORCED_FLUX: Final = float(np.nextafter(-9999.0, 0.0))
"""Least forced flux that is meant: -9999 and -99999 mark that there is none."""
_LARGEST: Final = float(np.finfo(np.float64).max)
_LIMIT_SIGMAS: Final = 5.0
_EXPOSURE: Final = {"jd": Kind.NUMBER, "fid": Kind.INTEGER}
_PHOTOMETRY: Final = {
    **_EXPOSURE,
    "magpsf": Kind.NUMBER,
    "sigmapsf": Kind.NUMBER,
    "isdiffpos": Kind.SYMBOL,
}
_FORCED: Final = ("forcediffimflux", "forcediffimfluxunc", "magzpsci")

Column = npt.NDArray[np.float64]


class Ztf:
    """ZTF alerts, writer schemas 1.8 to 4.02."""

    name: Final = "ztf"
    utc_offset_ms: Final = 0
    night_offset_ms: Final = 0
    """A night on Palomar, about 2 to 14 h UTC, lies within the date that ZTF calls it by."""
    uses: Final = (
        RecordFields(ALERT, {"objectId": Kind.TEXT, "candid": Kind.INTEGER}),
        RecordFields("candidate", _PHOTOMETRY, {"ssdistnr": Kind.NUMBER}),
        RecordFields(
            "prv_candidates",
            {**_PHOTOMETRY, "diffmaglim": Kind.NUMBER},
            repeated=True,
            may_be_absent=True,
        ),
        RecordFields(
            "fp_hists",
            {**_EXPOSURE, **dict.fromkeys(_FORCED, Kind.NUMBER)},
            repeated=True,
            may_be_absent=True,
        ),
    )

    def recognises(self, schema: AlertSchema) -> bool:
        """Tell ZTF from the surveys that borrowed its schema and have no ``fid``."""
        return {"magpsf", "fid"} <= (schema.fields("candidate") or frozenset())

    def read(self, rows: Mapping[str, Rows]) -> SurveyAlerts:
        """Return the alerts of the tables; see `Survey.read`."""
        alerts = rows[ALERT]
        everywhere = np.ones(len(alerts), np.bool_)
        mjd, band = _exposure(alerts, "candidate.")
        flux, flux_err = _detection(alerts, "candidate.", everywhere)
        candid = alerts.integer("candid")
        object_id = alerts.text("objectId", MAX_ID_LENGTH)
        alert = np.arange(len(alerts))
        trigger = Observations.where(alerts.usable, alert, mjd, band, flux, flux_err, DETECTION)
        return SurveyAlerts(
            alert_id=candid,
            source_id=candid,
            object_id=object_id,
            trigger_mjd=mjd,
            solar_system=_is_solar_system(alerts),
            # The trigger comes first: of two equal observations the first stays.
            observations=[
                trigger,
                _previous(rows["prv_candidates"], mjd),
                _forced(rows["fp_hists"], mjd),
            ],
        )


def _previous(rows: Rows, trigger_mjd: Column) -> Observations:
    """Return previous detections and upper limits, but those that are later or unusable."""
    mjd, band = _exposure(rows)
    is_limit = rows.absent("magpsf")
    flux, flux_err = _detection(rows, "", ~is_limit)
    limit_njy = _flux_njy(rows.number("diffmaglim", *_MAGNITUDES, where=is_limit))
    return Observations.where(
        rows.usable & (mjd <= trigger_mjd[rows.parent]),
        rows.parent,
        mjd,
        band,
        np.where(is_limit, 0.0, flux),
        np.where(is_limit, limit_njy / _LIMIT_SIGMAS, flux_err),
        np.where(is_limit, UPPER_LIMIT, DETECTION).astype(np.uint8),
    )


def _forced(rows: Rows, trigger_mjd: Column) -> Observations:
    """Return forced fluxes, but those that are later or unusable, as more than half are."""
    mjd, band = _exposure(rows)
    flux = rows.number("forcediffimflux", _LEAST_FORCED_FLUX, _LARGEST)
    flux_err = rows.positive("forcediffimfluxunc", _LARGEST)
    njy = _flux_njy(rows.number("magzpsci", *_MAGNITUDES))
    good = rows.usable & (mjd <= trigger_mjd[rows.parent])
    with np.errstate(all="ignore"):
        return Observations.where(good, rows.parent, mjd, band, flux * njy, flux_err * njy, FORCED)


def _exposure(rows: Rows, prefix: str = "") -> tuple[Column, Column]:
    """Return time, MJD, and band."""
    mjd = rows.number(f"{prefix}jd", -MAX_ABS_MJD, MAX_ABS_MJD) - _JD_MJD
    return mjd, rows.choice(f"{prefix}fid", _BANDS)


def _detection(rows: Rows, prefix: str, where: npt.NDArray[np.bool_]) -> tuple[Column, Column]:
    """Return flux and error, nJy."""
    flux = _flux_njy(rows.number(f"{prefix}magpsf", *_MAGNITUDES, where=where))
    sigma = rows.positive(f"{prefix}sigmapsf", _MAX_SIGMA_MAG, where=where)
    sign = rows.choice(f"{prefix}isdiffpos", _SIGNS, where=where)
    with np.errstate(all="ignore"):
        return sign * flux, flux * sigma * np.log(10.0) / 2.5


def _flux_njy(magnitude: Column) -> Column:
    with np.errstate(all="ignore"):
        return 10.0 ** ((AB_ZERO_POINT_NJY - magnitude) / 2.5)


def _is_solar_system(alerts: Rows) -> npt.NDArray[np.bool_]:
    distance = alerts.optional_number("candidate.ssdistnr")
    return (distance >= 0.0) & (distance < SOLAR_SYSTEM_ARCSEC)
