"""One alert as JSON: its output record and its light curve, band by band."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

import numpy as np

from models.lightcurve import BANDS, DETECTION_SNR
from stream.output.outcomes import Outcomes

__all__ = ["alert_detail"]

_ONLY_IN_FILES: Final = ("error", "payload")
_MORE_THAN_53_BITS: Final = ("alert_id", "source_id")
_WITH_LIMITS: Final = [code for code, band in enumerate(BANDS) if band.survey == "ztf"]


def alert_detail(key: str, outcomes: Outcomes, row: int) -> dict[str, Any]:
    """Return the fields of the output record and ``light_curve``; ids are text, times ISO 8601."""
    (record,) = outcomes.alert_table().slice(row, 1).to_pylist(maps_as_pydicts="strict")
    for name in _ONLY_IN_FILES:
        del record[name]
    for name in _MORE_THAN_53_BITS:
        record[name] = str(record[name])
    plain = {name: _plain(value) for name, value in record.items()}
    return {"key": key, **plain, "light_curve": _light_curve(outcomes, row)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity.
    return value.isoformat() if isinstance(value, datetime) else value


def _light_curve(outcomes: Outcomes, row: int) -> dict[str, Any]:
    """Return the observations that the answer is about; a limit is the 5-sigma flux."""
    alerts, curves = outcomes.alerts, outcomes.alerts.curves
    part = slice(curves.splits[row], curves.splits[row + 1])
    band, mjd = curves.band[part], curves.mjd[part]
    # JSON has no infinity, and five times the largest error of float32 would be one there.
    flux, flux_err = (x[part].astype(np.float64) for x in (curves.flux, curves.flux_err))
    # ZTF's upper limits are kept as flux 0 with a fifth of the limit as error.
    is_limit = (flux == 0) & np.isin(band, _WITH_LIMITS)
    kind = np.where(curves.detected[part], "detection", np.where(is_limit, "limit", "forced"))
    flux = np.where(kind == "limit", DETECTION_SNR * flux_err, flux)
    return {
        "trigger_mjd": float(alerts.trigger_mjd[row]),
        "bands": [
            {
                "survey": BANDS[b].survey,
                "band": BANDS[b].name,
                "mjd": mjd[band == b].tolist(),
                "flux_njy": flux[band == b].tolist(),
                "flux_err_njy": flux_err[band == b].tolist(),
                "kind": kind[band == b].tolist(),
            }
            for b in np.unique(band).tolist()
        ],
    }
