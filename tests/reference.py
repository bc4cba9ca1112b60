"""Real alerts read a second time, plainly: by fastavro's own reader and one loop per survey.

Nothing of `stream` is used, so that a fault there cannot hide itself.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fastavro
import numpy as np

ZTF_BANDS = {1: 6, 2: 7, 3: 8}
LSST_BANDS = {"u": 0, "g": 1, "r": 2, "i": 3, "z": 4, "y": 5}
LN10 = math.log(10.0)


@dataclass
class Alert:
    """One alert; observations are (mjd, band) -> (rank, flux, flux_err), fluxes in nJy."""

    survey: str
    alert_id: int
    source_id: int
    object_id: str
    mjd: float
    unix_ms: float
    solar_system: bool = False
    observations: dict[tuple[float, int], tuple[int, float, float]] = field(default_factory=dict)

    def observe(
        self, mjd: float, band: int, rank: int, flux: float | None, flux_err: float | None
    ) -> None:
        if flux is None or flux_err is None or math.isnan(flux) or math.isnan(flux_err):
            return
        if mjd > self.mjd or flux_err <= 0:
            return
        key = (mjd, band)
        if key not in self.observations or rank < self.observations[key][0]:
            self.observations[key] = (rank, flux, flux_err)

    def columns(self) -> tuple[list[Any], ...]:
        """Return mjd, band, flux, flux_err, detected in order of time and band."""
        rows = sorted(self.observations.items())
        return (
            [key[0] for key, _ in rows],
            [key[1] for key, _ in rows],
            [np.float32(value[1]) for _, value in rows],
            [np.float32(value[2]) for _, value in rows],
            [value[0] == 0 for _, value in rows],
        )


def read(value: bytes) -> list[Alert]:
    """Return the alerts of a good message."""
    if value.startswith(b"Obj"):
        records: list[Any] = list(fastavro.reader(io.BytesIO(value)))
    else:
        schema = packet_schema(int.from_bytes(value[1:5], "big"))
        records = [fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)]
    return [_ztf(r) if "candidate" in r else _lsst(r) for r in records]


@cache
def packet_schema(schema_id: int) -> dict[str, Any]:
    """Return one of Rubin's schemas."""
    from lsst.alert.packet import SchemaRegistry

    registry = SchemaRegistry.all_schemas_from_filesystem()
    definition: dict[str, Any] = registry.get_by_id(schema_id).definition
    return definition


def _njy(magnitude: float) -> float:
    return float(10.0 ** ((31.4 - magnitude) / 2.5))


def _ztf(record: dict[str, Any]) -> Alert:
    now = record["candidate"]
    alert = Alert(
        "ztf",
        record["candid"],
        record["candid"],
        record["objectId"],
        now["jd"] - 2400000.5,
        (now["jd"] - 2440587.5) * 86_400_000.0,
        0 <= now["ssdistnr"] < 5,
    )
    for source in [now, *(record["prv_candidates"] or [])]:
        mjd, band = source["jd"] - 2400000.5, ZTF_BANDS[source["fid"]]
        if source["magpsf"] is not None:
            flux = _njy(source["magpsf"])
            sign = +1 if source["isdiffpos"] in ("t", "1") else -1
            alert.observe(mjd, band, 0, sign * flux, flux * source["sigmapsf"] * LN10 / 2.5)
        elif source["diffmaglim"] is not None and source["diffmaglim"] > 0:
            alert.observe(mjd, band, 2, 0.0, _njy(source["diffmaglim"]) / 5)
    for forced in record.get("fp_hists") or []:
        flux = forced["forcediffimflux"]
        if flux is None or flux <= -9999:
            continue
        scale = _njy(forced["magzpsci"])
        mjd, band = forced["jd"] - 2400000.5, ZTF_BANDS[forced["fid"]]
        alert.observe(mjd, band, 1, flux * scale, forced["forcediffimfluxunc"] * scale)
    return alert


def _lsst(record: dict[str, Any]) -> Alert:
    now = record["diaSource"]
    of_object = (record["diaObject"] or {}).get("diaObjectId") or now["diaObjectId"]
    of_solar_system = now["ssObjectId"] or (record.get("ssSource") or {}).get("ssObjectId")
    alert = Alert(
        "lsst",
        record["alertId"] if "alertId" in record else record["diaSourceId"],
        now["diaSourceId"],
        str(of_object or of_solar_system or ""),
        now["midpointMjdTai"],
        (now["midpointMjdTai"] - 40587) * 86_400_000.0 - 37_000.0,
        bool(of_solar_system and not of_object),
    )
    for rank, sources in enumerate(
        ([now, *(record["prvDiaSources"] or [])], record["prvDiaForcedSources"] or [])
    ):
        for source in sources:
            if rank == 1 and source.get("timeWithdrawnMjdTai") is not None:
                continue
            alert.observe(
                source["midpointMjdTai"],
                LSST_BANDS[source["band"]],
                rank,
                source["psfFlux"],
                source["psfFluxErr"],
            )
    return alert
