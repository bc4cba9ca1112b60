"""The science module for Fink, called as Spark would call it; Spark itself is in tests/system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deploy.bench.fink_frame import FORCED, HISTORY, fink_frame
from deploy.spark.fink import NOT_CLASSIFIED, probabilities
from deploy.spark.light_curves import decode_histories
from models.errors import BundleError, DataError
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch

Answer = dict[str, float]


@pytest.fixture(scope="module")
def packets(alerts_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((alerts_dir / "ztf").rglob("*.avro"))]


@pytest.fixture(scope="module")
def frame(packets: list[bytes]) -> pd.DataFrame:
    return fink_frame(packets)


@pytest.fixture
def expected(pipeline: Pipeline, packets: list[bytes]) -> list[Answer | None]:
    """Return the probabilities of the same alerts from their packets."""
    records = pipeline.process(message_batch(packets)).alert_table().to_pylist()
    return [row["probabilities"] and dict(row["probabilities"]) for row in records]


def histories(frame: pd.DataFrame) -> dict[str, Any]:
    return {name: frame[f"c{name}"] for name in HISTORY}


def forced(frame: pd.DataFrame) -> dict[str, Any]:
    names = {"jd": "forced_jd", "fid": "forced_fid"}
    return {names.get(name, name): frame[f"fp_{name}"] for name in FORCED}


def same(answer: Answer, expected: Answer | None) -> bool:
    return answer == (expected or dict.fromkeys(answer, NOT_CLASSIFIED))


def test_all_columns_give_the_answers_of_the_packets(
    frame: pd.DataFrame, expected: list[Answer | None]
) -> None:
    answers = probabilities(
        frame["candid"], **histories(frame), **forced(frame), roid=frame["roid"]
    )
    assert all(map(same, answers, expected))
    assert 0 < sum(e is not None for e in expected) < len(expected)


def test_without_forced_photometry_alerts_that_have_none_keep_their_answers(
    frame: pd.DataFrame, expected: list[Answer | None]
) -> None:
    answers = probabilities(frame["candid"], **histories(frame), roid=frame["roid"])
    without = frame["fp_jd"].map(len) == 0
    assert without.sum() > 10
    assert all(same(a, e) for a, e, w in zip(answers, expected, without, strict=True) if w)


def test_fink_calls_with_eight_columns(frame: pd.DataFrame) -> None:
    arguments = [frame[n] for n in ("candid", "cjd", "cfid", "cmagpsf", "csigmapsf", "roid")]
    arguments += [frame["cdsxmatch"], frame["jdstarthist"]]
    answers = probabilities(*arguments)
    assert len(answers) == len(frame)
    classified = [a for a in answers if NOT_CLASSIFIED not in a.values()]
    assert len(classified) > 10
    assert all(sum(a.values()) == pytest.approx(1) for a in classified)
    named = {name: frame[f"c{name}"] for name in HISTORY[:4]}
    assert answers.tolist() == probabilities(frame["candid"], **named).tolist()


def test_arrays_and_lists_nan_and_null_are_the_same(frame: pd.DataFrame) -> None:
    arrays = frame.copy()
    for name in HISTORY:
        kind = {"fid": np.int32, "isdiffpos": object}.get(name, np.float64)
        arrays[f"c{name}"] = [np.array(cell, kind) for cell in frame[f"c{name}"]]
    answers = probabilities(frame["candid"], **histories(frame))
    assert probabilities(arrays["candid"], **histories(arrays)).tolist() == answers.tolist()
    arrays["cfid"] = [cell.astype(np.float64) for cell in arrays["cfid"]]
    assert probabilities(arrays["candid"], **histories(arrays)).tolist() == answers.tolist()


def test_what_is_assumed_without_signs_and_limits(frame: pd.DataFrame) -> None:
    columns = {name: frame[f"c{name}"] for name in HISTORY[:4]}
    bare = decode_histories(frame["candid"], columns).curves
    assert (bare.flux > 0).all() and bare.detected.all()
    full = decode_histories(frame["candid"], histories(frame)).curves
    assert (full.flux < 0).any() and not full.detected.all()
    assert bare.n_observations.tolist() == [
        int(full.detected[a:b].sum())
        for a, b in zip(full.splits[:-1], full.splits[1:], strict=True)
    ]


def test_forced_photometry_stands_in_for_upper_limits(frame: pd.DataFrame) -> None:
    columns = {name: frame[f"fp_{name}"] for name in FORCED}
    forced = decode_histories(frame["candid"], histories(frame), forced=columns).curves
    limits = decode_histories(frame["candid"], histories(frame)).curves
    np.testing.assert_array_equal(forced.mjd, limits.mjd)
    np.testing.assert_array_equal(forced.detected, limits.detected)
    differs = forced.flux != limits.flux
    assert differs.any() and not limits.flux[differs].any()


def test_the_alert_itself_is_the_last_of_its_history(frame: pd.DataFrame) -> None:
    batch = decode_histories(frame["candid"], histories(frame), frame["roid"])
    assert batch.alert_id.tolist() == frame["candid"].tolist()
    np.testing.assert_allclose(batch.trigger_mjd, frame["jd"] - 2400000.5, rtol=0, atol=1e-9)
    assert batch.solar_system.tolist() == (frame["roid"] == 3).tolist()
    assert batch.solar_system.any()


@pytest.mark.parametrize("cell", [None, [], [None]])
def test_an_alert_without_a_usable_history_costs_only_itself(
    frame: pd.DataFrame, cell: list[None] | None
) -> None:
    broken = frame.copy()
    for name in HISTORY:
        broken[f"c{name}"] = [cell, *frame[f"c{name}"][1:]]
    answers = probabilities(broken["candid"], **histories(broken)).tolist()
    assert set(answers[0].values()) == {NOT_CLASSIFIED}
    assert answers[1:] == probabilities(frame["candid"], **histories(frame)).tolist()[1:]


def test_nothing_but_empty_histories() -> None:
    empty = pd.Series([None, None])
    answers = probabilities(pd.Series([1, 2]), empty, empty, empty, empty)
    assert [set(a.values()) for a in answers] == [{NOT_CLASSIFIED}] * 2
    none = pd.Series([], dtype=object)
    assert probabilities(pd.Series([], dtype=np.int64), none, none, none, none).tolist() == []


def test_the_index_of_the_rows_stays(frame: pd.DataFrame) -> None:
    part = frame.iloc[3:7]
    answers = probabilities(part["candid"], **histories(part))
    assert answers.index.tolist() == [3, 4, 5, 6]


def test_columns_of_different_histories_are_an_error(frame: pd.DataFrame) -> None:
    columns = histories(frame) | {"fid": frame["cfid"].map(lambda cell: cell[1:])}
    with pytest.raises(DataError, match="column fid has 29 values in row 0, jd has 30"):
        probabilities(frame["candid"], **columns)


def test_the_model_can_be_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent\.onnx"):
        probabilities(frame["candid"], **histories(frame), model=tmp_path / "absent.onnx")
