from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from models.lightcurve import band_index
from stream.alerts import AlertBatch, RefusedReason
from stream.avro.projection import check_fields
from stream.avro.schemas import PackageSchemas
from stream.avro.writer import WriterSchema
from stream.refusal import Refusal
from stream.surveys import SURVEYS
from stream.surveys.lsst import Lsst
from tests.stream.survey_records import read

MJD = 60900.5
G, R = band_index("lsst", "g"), band_index("lsst", "r")

SOURCE = {
    "diaSourceId": 11,
    "diaObjectId": 22,
    "ssObjectId": None,
    "midpointMjdTai": MJD,
    "band": "r",
    "psfFlux": 1000.0,
    "psfFluxErr": 50.0,
}
EARLIER = SOURCE | {"midpointMjdTai": MJD - 1, "psfFlux": -200.0}


def alert(source: dict[str, Any] | None = None, **fields: object) -> dict[str, Any]:
    return {"diaSourceId": 11, "diaSource": SOURCE | (source or {}), **fields}


def append(record: dict[str, Any]) -> AlertBatch:
    return read(Lsst(), record)


def refusal(record: dict[str, Any]) -> str:
    refused = append(record).refused
    assert refused.reason == [RefusedReason.INVALID_FIELD]
    return refused.error[0]


def test_fluxes_and_times_are_taken_as_they_are() -> None:
    batch = append(alert(prvDiaSources=[EARLIER]))
    np.testing.assert_array_equal(batch.curves.mjd, [MJD - 1, MJD])
    np.testing.assert_array_equal(batch.curves.flux, [-200, 1000])
    np.testing.assert_array_equal(batch.curves.flux_err, [50, 50])
    np.testing.assert_array_equal(batch.curves.band, [R, R])
    assert batch.trigger_mjd.tolist() == [MJD]


def test_utc_is_37_seconds_behind_tai() -> None:
    expected = round((MJD - 40587) * 86_400_000) - 37_000
    assert append(alert()).observation_ms.tolist() == [expected]


def test_alert_id_is_that_of_the_version() -> None:
    old, new = append(alert(alertId=5)), append(alert({"diaSourceId": 12}, alertId=None))
    assert (old.alert_id[0], old.source_id[0]) == (5, 11)
    assert (new.alert_id[0], new.source_id[0]) == (11, 12)


@pytest.mark.parametrize(
    ("source", "fields", "object_id", "solar_system"),
    [
        ({}, {}, "22", False),
        ({"ssObjectId": 33}, {}, "22", False),
        ({"ssObjectId": 0}, {}, "22", False),
        ({"diaObjectId": None, "ssObjectId": 33}, {}, "33", True),
        ({"diaObjectId": 0, "ssObjectId": 33}, {"diaObject": {"diaObjectId": None}}, "33", True),
        ({"diaObjectId": None}, {"diaObject": {"diaObjectId": 44}}, "44", False),
        ({"diaObjectId": None}, {"ssSource": {"ssObjectId": 55}}, "55", True),
        ({"diaObjectId": 0}, {"ssSource": None, "ssObject": {"ssObjectId": 66}}, "66", True),
        ({"diaObjectId": None, "ssObjectId": 0}, {"ssSource": {"ssObjectId": 0}}, "", False),
    ],
)
def test_null_and_zero_mean_no_id(
    source: dict[str, Any], fields: dict[str, Any], object_id: str, solar_system: bool
) -> None:
    batch = append(alert(source, **fields))
    assert batch.object_id.to_pylist() == [object_id]
    assert batch.solar_system.tolist() == [solar_system]


def test_detection_beats_forced_point_and_trigger_beats_its_copy() -> None:
    batch = append(
        alert(
            prvDiaSources=[EARLIER, SOURCE | {"psfFlux": 1.0}],
            prvDiaForcedSources=[EARLIER | {"psfFlux": 2.0}, EARLIER | {"band": "g"}],
        )
    )
    np.testing.assert_array_equal(batch.curves.band, [G, R, R])
    np.testing.assert_array_equal(batch.curves.flux, [-200, -200, 1000])
    np.testing.assert_array_equal(batch.curves.detected, [False, True, True])


@pytest.mark.parametrize("name", ["prvDiaSources", "prvDiaForcedSources"])
@pytest.mark.parametrize(
    "entry",
    [
        None,
        EARLIER | {"psfFlux": None},
        EARLIER | {"psfFlux": math.nan},
        EARLIER | {"psfFluxErr": None},
        EARLIER | {"psfFluxErr": math.nan},
        EARLIER | {"psfFluxErr": 0.0},
        EARLIER | {"psfFlux": "bright"},
        EARLIER | {"band": "x"},
        EARLIER | {"band": None},
        EARLIER | {"band": ["r"]},
        EARLIER | {"midpointMjdTai": None},
        EARLIER | {"midpointMjdTai": math.nan},
        EARLIER | {"midpointMjdTai": MJD + 1e-6},
        EARLIER | {"timeWithdrawnMjdTai": MJD - 0.5},
        {},
    ],
    ids=repr,
)
def test_unusable_history_is_left_out(name: str, entry: object) -> None:
    assert append(alert() | {name: [entry]}).curves.mjd.tolist() == [MJD]


@pytest.mark.parametrize("withdrawn", [None, math.nan])
def test_history_that_was_not_withdrawn_stays(withdrawn: float | None) -> None:
    batch = append(alert(prvDiaForcedSources=[EARLIER | {"timeWithdrawnMjdTai": withdrawn}]))
    assert len(batch.curves.mjd) == 2


@pytest.mark.parametrize("flux", [None, math.nan])
def test_trigger_without_flux_is_an_alert_without_that_observation(flux: float | None) -> None:
    batch = append(alert({"psfFlux": flux}, prvDiaSources=[EARLIER]))
    assert batch.curves.mjd.tolist() == [MJD - 1]
    assert batch.trigger_mjd.tolist() == [MJD]


@pytest.mark.parametrize("name", ["prvDiaSources", "prvDiaForcedSources"])
def test_history_of_another_type(name: str) -> None:
    assert len(append(alert() | {name: None}).curves.mjd) == 1
    assert refusal(alert() | {name: "none"}) == (
        f"field {name} is of another type, must be an array"
    )
    assert "an array of records" in refusal(alert() | {name: [3]})


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (alert({"midpointMjdTai": None}), "diaSource.midpointMjdTai"),
        (alert({"midpointMjdTai": math.nan}), "diaSource.midpointMjdTai"),
        (alert({"midpointMjdTai": 1e11}), "diaSource.midpointMjdTai"),
        (alert({"band": None}), "diaSource.band"),
        (alert({"band": "w"}), "diaSource.band"),
        (alert({"diaSourceId": None}), "diaSource.diaSourceId"),
        (alert() | {"diaSourceId": None}, "diaSourceId"),
        (alert(alertId="5"), "alertId"),
        ({"diaSourceId": 11, "diaSource": None}, "diaSource.midpointMjdTai"),
        ({"diaSourceId": 11, "diaSource": 3}, "diaSource"),
    ],
)
def test_required_fields(record: dict[str, Any], name: str) -> None:
    assert refusal(record).startswith(f"field {name} is ")


@pytest.mark.parametrize("schema_id", [700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101])
def test_every_version_is_recognised_and_has_all_fields(schema_id: int) -> None:
    schema = WriterSchema.parse(PackageSchemas().fetch(schema_id) or "")
    assert [survey.name for survey in SURVEYS if survey.recognises(schema)] == ["lsst"]
    check_fields(Lsst.uses, schema, "lsst")


def test_schema_of_before_2024_is_refused_by_naming_the_fields() -> None:
    schema = WriterSchema.parse(PackageSchemas().fetch(400) or "")
    assert Lsst().recognises(schema)
    with pytest.raises(Refusal) as caught:
        check_fields(Lsst.uses, schema, "lsst")
    assert caught.value.reason is RefusedReason.INVALID_FIELD
    assert "diaSource.psfFlux" in caught.value.error


def test_anything_else_is_not_lsst() -> None:
    fields = [{"name": "diaSource", "type": "string"}]
    schema = WriterSchema.parse(json.dumps({"type": "record", "name": "a", "fields": fields}))
    assert not Lsst().recognises(schema)
