"""Alerts of the Vera C. Rubin Observatory's LSST (DMTN-093; schemas 7.0 to 11.1).

Photometry is difference-image flux in nJy, signed; times are TAI, mid-exposure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.lightcurve import DETECTION, FORCED, band_index
from stream.avro.projection import ALERT, AlertSchema, Kind, RecordFields
from stream.avro.tables import Rows
from stream.surveys.survey import MAX_ABS_MJD, Observations, SurveyAlerts

__all__ = ["TAI_MINUS_UTC_MS", "Lsst"]

TAI_MINUS_UTC_MS: Final = 37_000
"""Since 2017-01-01; no leap second is announced (IERS Bulletin C)."""

_BANDS: Final = {name: band_index("lsst", name) for name in "ugrizy"}
_PHOTOMETRY: Final = {
    "midpointMjdTai": Kind.NUMBER,
    "band": Kind.SYMBOL,
    "psfFlux": Kind.NUMBER,
    "psfFluxErr": Kind.NUMBER,
}
_WITHDRAWN: Final = {"timeWithdrawnMjdTai": Kind.NUMBER}
_OBJECT: Final = {"diaObjectId": Kind.INTEGER}
_SOLAR_SYSTEM: Final = {"ssObjectId": Kind.INTEGER}
_HISTORY: Final = (("prvDiaSources", DETECTION), ("prvDiaForcedSources", FORCED))


class Lsst:
    """LSST alerts, from Rubin itself or re-wrapped by a broker."""

    name: Final = "lsst"
    utc_offset_ms: Final = TAI_MINUS_UTC_MS
    night_offset_ms: Final = 12 * 3_600_000
    """Rubin's ``dayObs`` changes at noon UTC (SITCOMTN-032)."""
    uses: Final = (
        RecordFields(ALERT, {}, {"alertId": Kind.INTEGER, "diaSourceId": Kind.INTEGER}),
        RecordFields(
            "diaSource",
            {"diaSourceId": Kind.INTEGER, **_PHOTOMETRY},
            {**_OBJECT, **_SOLAR_SYSTEM},
        ),
        *(
            RecordFields(path, _PHOTOMETRY, _WITHDRAWN, repeated=True, may_be_absent=True)
            for path, _ in _HISTORY
        ),
        RecordFields("diaObject", {}, _OBJECT, may_be_absent=True),
        RecordFields("ssSource", {}, _SOLAR_SYSTEM, may_be_absent=True),
        RecordFields("ssObject", {}, _SOLAR_SYSTEM, may_be_absent=True),
    )

    def recognises(self, schema: AlertSchema) -> bool:
        """Recognise the one field that every version has had."""
        return schema.fields("diaSource") is not None

    def read(self, rows: Mapping[str, Rows]) -> SurveyAlerts:
        """Return the alerts of the tables; see `Survey.read`."""
        alerts = rows[ALERT]
        mjd = alerts.number("diaSource.midpointMjdTai", -MAX_ABS_MJD, MAX_ABS_MJD)
        alerts.choice("diaSource.band", _BANDS)
        # Schemas up to 7 have an id of the alert, later ones only that of its source.
        has_id = ~alerts.absent("alertId")
        alert_id, top_id = alerts.integer("alertId", has_id), alerts.integer("diaSourceId", ~has_id)
        source_id = alerts.integer("diaSource.diaSourceId")
        object_id = _known_id(alerts, "diaSource.diaObjectId", "diaObject.diaObjectId")
        solar_system_id = _known_id(
            alerts, "diaSource.ssObjectId", "ssSource.ssObjectId", "ssObject.ssObjectId"
        )
        alert = np.arange(len(alerts), dtype=np.int32)
        # The trigger comes first: of two equal observations the first stays.
        trigger = _photometry(alerts, "diaSource.", alert, mjd, alerts.usable, DETECTION)
        return SurveyAlerts(
            alert_id=np.where(has_id, alert_id, top_id),
            source_id=source_id,
            object_id=_texts(np.where(object_id != 0, object_id, solar_system_id)),
            trigger_mjd=mjd,
            solar_system=(object_id == 0) & (solar_system_id != 0),
            observations=[
                trigger,
                *(_history(rows[path], mjd, rank) for path, rank in _HISTORY),
            ],
        )


def _history(rows: Rows, trigger_mjd: npt.NDArray[np.float64], rank: int) -> Observations:
    """Return previous fluxes, but those that are later, unusable or withdrawn since."""
    mjd = rows.number("midpointMjdTai", -MAX_ABS_MJD, MAX_ABS_MJD)
    withdrawn = np.isfinite(rows.optional_number("timeWithdrawnMjdTai"))
    good = rows.usable & (mjd <= trigger_mjd[rows.parent]) & ~withdrawn
    return _photometry(rows, "", rows.parent, mjd, good, rank)


def _photometry(
    rows: Rows,
    prefix: str,
    alert: npt.NDArray[np.int32],
    mjd: npt.NDArray[np.float64],
    good: npt.NDArray[np.bool_],
    rank: int,
) -> Observations:
    """Return fluxes where they are ``good``, but those that are null or NaN or of no band."""
    band = rows.optional_choice(f"{prefix}band", _BANDS)
    flux = rows.optional_number(f"{prefix}psfFlux")
    flux_err = rows.optional_number(f"{prefix}psfFluxErr")
    good = good & np.isfinite(band) & np.isfinite(flux) & np.isfinite(flux_err)
    return Observations.where(good, alert, mjd, band, flux, flux_err, rank)


def _known_id(rows: Rows, *names: str) -> npt.NDArray[np.int64]:
    """Return the first of several ids that is there; null and 0 both mean none, and give 0."""
    known = np.zeros(len(rows), np.int64)
    for name in reversed(names):
        value = rows.optional_integer(name)
        known = np.where(value != 0, value, known)
    return known


def _texts(ids: npt.NDArray[np.int64]) -> pa.StringArray:
    return pc.if_else(pa.array(ids != 0), pa.array(ids).cast(pa.string()), "")
