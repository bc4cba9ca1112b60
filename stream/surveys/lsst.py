"""Alerts of the Vera C. Rubin Observatory's LSST (DMTN-093; schemas 7.0 to 11.1).

Photometry is difference-image flux in nJy, signed; times are TAI, mid-exposure.
"""

from __future__ import annotations

from typing import Final

from models.lightcurve import DETECTION, FORCED, band_index
from stream.avro.writer import Record, WriterSchema
from stream.columns import AlertColumns
from stream.surveys.fields import (
    MAX_ABS_MJD,
    RecordFields,
    entries,
    finite,
    integer,
    invalid,
    number,
    subrecord,
)

__all__ = ["TAI_MINUS_UTC_MS", "Lsst"]

TAI_MINUS_UTC_MS: Final = 37_000
"""Since 2017-01-01; no leap second is announced (IERS Bulletin C)."""

_BANDS: Final = {name: band_index("lsst", name) for name in "ugrizy"}
_PHOTOMETRY: Final = ("midpointMjdTai", "band", "psfFlux", "psfFluxErr")
_HISTORY: Final = (("prvDiaSources", DETECTION), ("prvDiaForcedSources", FORCED))


class Lsst:
    """LSST alerts, from Rubin itself or re-wrapped by a broker."""

    name: Final = "lsst"
    uses: Final = (
        RecordFields("", ("diaSource",), ("alertId", "diaSourceId")),
        RecordFields("diaSource", ("diaSourceId", *_PHOTOMETRY), ("diaObjectId", "ssObjectId")),
        RecordFields("prvDiaSources", _PHOTOMETRY, ("timeWithdrawnMjdTai",), may_be_absent=True),
        RecordFields(
            "prvDiaForcedSources", _PHOTOMETRY, ("timeWithdrawnMjdTai",), may_be_absent=True
        ),
        RecordFields("diaObject", (), ("diaObjectId",), may_be_absent=True),
        RecordFields("ssSource", (), ("ssObjectId",), may_be_absent=True),
        RecordFields("ssObject", (), ("ssObjectId",), may_be_absent=True),
    )

    def recognises(self, schema: WriterSchema) -> bool:
        """Recognise the one field that every version has had."""
        return schema.fields("diaSource") is not None

    def append(self, alert: Record, columns: AlertColumns) -> None:
        """Append one alert; see `Survey.append`."""
        source = subrecord(alert, "diaSource")
        mjd = _mjd(source)
        if _band(source) is None:
            invalid("band", source.get("band"), f"one of {', '.join(_BANDS)}")
        object_id = _known_id("diaObjectId", source, alert.get("diaObject"))
        solar_system_id = _known_id(
            "ssObjectId", source, alert.get("ssSource"), alert.get("ssObject")
        )
        columns.add_alert(
            _alert_id(alert),
            integer(source, "diaSourceId"),
            str(object_id or solar_system_id or ""),
            mjd,
            solar_system=object_id is None and solar_system_id is not None,
            utc_offset_ms=TAI_MINUS_UTC_MS,
        )
        # First, because the first of two equal observations stays.
        _append_observation(source, mjd, DETECTION, columns)
        for name, rank in _HISTORY:
            for entry in entries(alert, name):
                when = finite(entry.get("midpointMjdTai"))
                if when is not None and when <= mjd and not _is_withdrawn(entry):
                    _append_observation(entry, when, rank, columns)


def _append_observation(source: Record, mjd: float, rank: int, columns: AlertColumns) -> None:
    """Append a flux, unless it is null or NaN or its band unknown."""
    band = _band(source)
    flux, flux_err = finite(source.get("psfFlux")), finite(source.get("psfFluxErr"))
    if band is not None and flux is not None and flux_err is not None:
        columns.add_observation(mjd, band, flux, flux_err, rank)


def _mjd(source: Record) -> float:
    return number(source, "midpointMjdTai", -MAX_ABS_MJD, MAX_ABS_MJD)


def _band(source: Record) -> int | None:
    band = source.get("band")
    return _BANDS.get(band) if isinstance(band, str) else None


def _alert_id(alert: Record) -> int:
    """Return ``alertId`` (schemas up to 7), or ``diaSourceId`` where there is none."""
    return integer(alert, "diaSourceId" if alert.get("alertId") is None else "alertId")


def _known_id(name: str, *records: object) -> int | None:
    """Return an id out of the first record that has it; null and 0 both mean none."""
    for record in records:
        value = record.get(name) if isinstance(record, dict) else None
        if isinstance(value, int) and value != 0:
            return value
    return None


def _is_withdrawn(entry: Record) -> bool:
    """Tell whether Rubin has since marked an entry invalid."""
    return finite(entry.get("timeWithdrawnMjdTai")) is not None
