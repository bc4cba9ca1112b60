from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from models.lightcurve import band_index
from stream.alerts import AlertBatch, RefusedReason
from stream.avro.projection import check_fields
from stream.avro.writer import WriterSchema
from stream.refusal import Refusal
from stream.surveys import SURVEYS
from stream.surveys.ztf import Ztf
from tests.stream.survey_records import read

JD = 2459000.75
BAND_G, BAND_R, BAND_I = (band_index("ztf", name) for name in "gri")

DETECTION = {"jd": JD, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": "t"}
LIMIT = {"jd": JD - 3, "fid": 2, "magpsf": None, "diffmaglim": 20.0}
FORCED = {
    "jd": JD - 2,
    "fid": 3,
    "forcediffimflux": -50.0,
    "forcediffimfluxunc": 5.0,
    "magzpsci": 26.4,
}


def alert(candidate: dict[str, Any] | None = None, **fields: object) -> dict[str, Any]:
    return {
        "objectId": "ZTF20aaaaaaa",
        "candid": 7,
        "candidate": DETECTION | {"ssdistnr": -999.0} | (candidate or {}),
        "prv_candidates": None,
        **fields,
    }


def append(record: dict[str, Any]) -> AlertBatch:
    return read(Ztf(), record)


def with_previous(*entries: object) -> AlertBatch:
    return append(alert(prv_candidates=list(entries)))


def with_forced(**fields: object) -> AlertBatch:
    return append(alert(fp_hists=[FORCED | fields]))


def refusal(record: dict[str, Any]) -> str:
    refused = append(record).refused
    assert refused.reason == [RefusedReason.INVALID_FIELD]
    return refused.error[0]


def test_identity() -> None:
    batch = append(alert())
    assert batch.alert_id.tolist() == batch.source_id.tolist() == [7]
    assert batch.object_id.to_pylist() == ["ZTF20aaaaaaa"]
    assert batch.trigger_mjd.tolist() == [59000.25]
    assert batch.observation_ms.tolist() == [round((59000.25 - 40587) * 86_400_000)]


def test_units() -> None:
    batch = with_previous(LIMIT)
    flux = 10 ** ((31.4 - 18.0) / 2.5)
    np.testing.assert_array_equal(batch.curves.band, [BAND_R, BAND_G])
    np.testing.assert_allclose(batch.curves.flux, [0, flux], rtol=1e-6)
    errors = [10 ** ((31.4 - 20.0) / 2.5) / 5, flux * 0.1 * math.log(10) / 2.5]
    np.testing.assert_allclose(batch.curves.flux_err, errors, rtol=1e-6)
    np.testing.assert_array_equal(batch.curves.detected, [False, True])
    forced = with_forced().curves
    assert (forced.band[0], forced.detected[0]) == (BAND_I, False)
    assert (forced.flux[0], forced.flux_err[0]) == pytest.approx((-5000, 500))


@pytest.mark.parametrize(
    ("value", "sign"), [("t", 1), ("1", 1), (True, 1), ("f", -1), ("0", -1), (False, -1)]
)
def test_sign(value: object, sign: int) -> None:
    assert np.sign(append(alert({"isdiffpos": value})).curves.flux).tolist() == [sign]


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(0.0, True), (4.9, True), (5.0, False), (-999.0, False), (None, False), (math.nan, False)],
)
def test_solar_system(distance: float | None, expected: bool) -> None:
    assert append(alert({"ssdistnr": distance})).solar_system.tolist() == [expected]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        LIMIT | {"diffmaglim": None},
        LIMIT | {"diffmaglim": -999.0},
        LIMIT | {"diffmaglim": -1006.9},
        LIMIT | {"jd": None},
        LIMIT | {"jd": math.nan},
        LIMIT | {"fid": 4},
        LIMIT | {"fid": None},
        LIMIT | {"fid": [1]},
        LIMIT | {"magpsf": 18.0},
        LIMIT | {"jd": JD + 1},
        DETECTION | {"jd": JD + 1e-6},
        DETECTION | {"jd": JD - 1, "magpsf": math.nan},
        DETECTION | {"jd": JD - 1, "magpsf": -999.0},
        DETECTION | {"jd": JD - 1, "magpsf": "18"},
        DETECTION | {"jd": JD - 1, "sigmapsf": None},
        DETECTION | {"jd": JD - 1, "sigmapsf": 0.0},
        DETECTION | {"jd": JD - 1, "isdiffpos": None},
        DETECTION | {"jd": JD - 1, "isdiffpos": {}},
        {},
    ],
    ids=repr,
)
def test_unusable_history_is_left_out(entry: object) -> None:
    assert with_previous(entry).curves.detected.tolist() == [True]


@pytest.mark.parametrize(
    "fields",
    [
        {"forcediffimflux": None},
        {"forcediffimflux": -9999.0},
        {"forcediffimflux": -99999.0},
        {"forcediffimflux": math.nan},
        {"forcediffimfluxunc": None},
        {"forcediffimfluxunc": 0.0},
        {"forcediffimfluxunc": -99999.0},
        {"magzpsci": None},
        {"magzpsci": -999.0},
        {"jd": JD + 1},
        {"fid": 0},
    ],
    ids=repr,
)
def test_unusable_forced_photometry_is_left_out(fields: dict[str, object]) -> None:
    assert len(with_forced().curves.mjd) == 2
    assert len(with_forced(**fields).curves.mjd) == 1


def test_detection_beats_forced_point_of_the_same_exposure() -> None:
    before = JD - 2
    batch = append(
        alert(
            prv_candidates=[DETECTION | {"jd": before, "fid": 3}],
            fp_hists=[FORCED, FORCED | {"fid": 2}, FORCED | {"jd": JD, "fid": 1}],
        )
    )
    np.testing.assert_array_equal(batch.curves.band, [BAND_R, BAND_I, BAND_G])
    np.testing.assert_array_equal(batch.curves.detected, [False, True, True])


@pytest.mark.parametrize("name", ["prv_candidates", "fp_hists"])
@pytest.mark.parametrize("value", ["none", {"jd": JD}, 3, ["none"]])
def test_history_of_another_type(name: str, value: object) -> None:
    assert refusal(alert() | {name: value}).startswith(f"field {name} is ")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("jd", None, "null"),
        ("jd", math.inf, "inf"),
        ("jd", 1e300, "1e+300"),
        ("fid", 4, "4"),
        ("fid", 1.0, "of another type"),
        ("magpsf", None, "null"),
        ("magpsf", math.nan, "nan"),
        ("magpsf", -999.0, "-999.0"),
        ("sigmapsf", -0.1, "-0.1"),
        ("sigmapsf", 0.0, "0.0"),
        ("isdiffpos", "x", "'x'"),
        ("isdiffpos", "positive", "longer than 7 bytes"),
        ("isdiffpos", None, "null"),
    ],
)
def test_triggering_observation_must_be_usable(name: str, value: object, shown: str) -> None:
    assert refusal(alert({name: value})).startswith(f"field candidate.{name} is {shown}, must be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objectId", None),
        ("objectId", ""),
        ("objectId", 3),
        ("objectId", "x" * 257),
        ("candid", "7"),
        ("candid", None),
        ("candid", True),
        ("candidate", None),
        ("candidate", []),
    ],
)
def test_identity_must_be_there(name: str, value: object) -> None:
    error = refusal(alert() | {name: value})
    first = "candidate.jd" if value is None and name == "candidate" else name
    assert error.startswith(f"field {first} is ")
    assert len(error) < 200


def schema(*candidate: str, top: tuple[str, ...] = ("objectId", "candid")) -> WriterSchema:
    fields: list[dict[str, object]] = [{"name": name, "type": "string"} for name in top]
    inner = [{"name": name, "type": "double"} for name in candidate]
    record = {"type": "record", "name": "candidate", "fields": inner}
    fields.append({"name": "candidate", "type": record})
    return WriterSchema.parse(json.dumps({"type": "record", "name": "a", "fields": fields}))


def test_recognised_by_structure() -> None:
    assert Ztf().recognises(schema("magpsf", "fid"))
    assert not Ztf().recognises(schema("magpsf", "pid"))
    assert [s.name for s in SURVEYS if s.recognises(schema("magpsf", "fid"))] == ["ztf"]


def test_schema_that_lacks_fields_names_them() -> None:
    with pytest.raises(Refusal) as caught:
        check_fields(Ztf.uses, schema("magpsf", "fid", "jd", "isdiffpos", top=("candid",)), "ztf")
    assert caught.value.reason is RefusedReason.INVALID_FIELD
    assert caught.value.error == (
        "schema a lacks objectId, candidate.sigmapsf, which ztf alerts need"
    )
