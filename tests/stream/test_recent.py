from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import count

import numpy as np
import pytest

from stream.alerts import NotClassifiedReason
from stream.output.outcomes import Outcomes
from stream.recent import AlertFilter, RecentAlerts

ALL = AlertFilter()


def _filled(outcomes: Outcomes, capacity: int = 1000) -> RecentAlerts:
    recent = RecentAlerts(capacity)
    recent.add(outcomes)
    return recent


def test_a_batch_is_kept_newest_first_with_what_the_record_says(outcomes: Outcomes) -> None:
    recent = _filled(outcomes)
    shown = recent.find(ALL, 500)
    records = outcomes.alert_table().to_pylist(maps_as_pydicts="strict")[::-1]
    assert len(recent) == len(shown) == len(records)
    for row, record in zip(shown, records, strict=True):
        for name in ("survey", "object_id", "n_observations", "reason"):
            assert row[name] == record[name]
        answer = record["probabilities"] or {}
        assert row["class"] == max(answer, key=answer.__getitem__, default=None)
        if answer:
            assert row["probability"] == pytest.approx(max(answer.values()), abs=1e-4)
        else:
            assert row["probability"] is None


def test_an_alert_is_found_by_its_key_with_its_own_light_curve(outcomes: Outcomes) -> None:
    recent = _filled(outcomes)
    tables = outcomes.alert_table()
    for i, row in enumerate(reversed(recent.find(ALL, 500))):
        found = recent.get(row["key"])
        assert found is not None
        kept, j = found
        assert kept.alert_table().slice(j, 1).to_pylist() == tables.slice(i, 1).to_pylist()
        for name in ("mjd", "band", "flux", "flux_err", "detected"):
            ours, theirs = kept.alerts.curves, outcomes.alerts.curves
            np.testing.assert_array_equal(
                getattr(ours, name)[ours.splits[j] : ours.splits[j + 1]],
                getattr(theirs, name)[theirs.splits[i] : theirs.splits[i + 1]],
            )
    assert recent.get("alerts:0:0:0") is None


def test_messages_are_not_kept(outcomes: Outcomes) -> None:
    recent = _filled(outcomes)
    found = recent.get(recent.find(ALL, 1)[0]["key"])
    assert found is not None
    messages = found[0].messages
    assert set(messages.values) == {b""}
    assert not messages.headers
    assert set(messages.keys) == {None}
    assert found[0].alerts.curves.flux.base is None, "a view would keep the whole batch"


def test_filters(outcomes: Outcomes) -> None:
    recent = _filled(outcomes)
    everything = recent.find(ALL, 500)
    names = {row["class"] for row in everything} - {None}
    assert len(names) > 3
    for name in names:
        chosen = recent.find(AlertFilter(class_name=name), 500)
        assert chosen == [row for row in everything if row["class"] == name]
    for p in (0.01, 0.5, 0.95):
        likely = recent.find(AlertFilter(min_probability=p), 500)
        assert likely == [r for r in everything if r["class"] and r["probability"] >= p - 5e-5]
    reasons = {row["reason"] for row in everything} - {None}
    assert reasons > {"solar_system"}
    for reason in NotClassifiedReason:
        found = recent.find(AlertFilter(outcome=reason), 500)
        assert found == [row for row in everything if row["reason"] == reason]
    without = recent.find(AlertFilter(outcome="not_classified"), 500)
    assert without == [row for row in everything if row["reason"]]
    classified = recent.find(AlertFilter(outcome="classified"), 500)
    assert len(classified) + len(without) == len(everything)
    assert recent.find(AlertFilter("SNIa", 0.0, "solar_system"), 500) == []
    assert recent.find(ALL, 3) == everything[:3]


def test_the_ring_is_bounded_and_lets_go_of_the_oldest(outcomes: Outcomes) -> None:
    n = len(outcomes.alerts)
    seconds = count(step=30)
    recent = RecentAlerts(4 * n, clock=lambda: next(seconds))
    for ms in range(40):
        recent.add(dataclasses.replace(outcomes, publish_ms=ms))
    assert len(recent) == 4 * n
    assert {row["publish_ms"] for row in recent.find(ALL, 9999)} == {36, 37, 38, 39}


def test_a_flood_does_not_drive_out_what_came_just_before(outcomes: Outcomes) -> None:
    recent = RecentAlerts(200, clock=lambda: 0.0)
    first = dataclasses.replace(outcomes, publish_ms=0)
    recent.add(first)
    for ms in range(1, 200):
        recent.add(dataclasses.replace(outcomes, publish_ms=ms))
    # 200 batches in no time: a quarter of the ring.
    assert len(recent) == 50
    assert len([r for r in recent.find(ALL, 500) if r["publish_ms"] == 0]) == len(outcomes.alerts)


def test_of_a_flood_rare_answers_are_kept_as_often_as_common_ones(outcomes: Outcomes) -> None:
    seconds = count(step=0.5)
    recent = RecentAlerts(200, clock=lambda: next(seconds))
    for _ in range(100):
        recent.add(outcomes)
    kept = Counter(row["class"] or row["reason"] for row in recent.find(ALL, 500))
    came = Counter(row["class"] or row["reason"] for row in _filled(outcomes).find(ALL, 500))
    assert set(kept) == set(came)
    assert max(came.values()) >= 10 * min(came.values())
    assert max(kept.values()) <= 2 * min(kept.values()), kept


def test_of_a_flood_every_alert_is_kept_at_some_time(outcomes: Outcomes) -> None:
    came = {row["key"] for row in _filled(outcomes).find(ALL, 500)}
    seconds = count(step=3)
    # Two at a time, so that a batch which always gives its first would never show the rest.
    recent = RecentAlerts(20, clock=lambda: next(seconds))
    kept: set[str] = set()
    for _ in range(100 * len(came)):
        recent.add(outcomes)
        kept |= {row["key"] for row in recent.find(ALL, 500)}
        if kept == came:
            return
    raise AssertionError(f"never kept: {came - kept}")


def test_a_batch_without_alerts_changes_nothing(outcomes: Outcomes) -> None:
    recent = _filled(outcomes)
    before = recent.find(ALL, 500)
    empty = recent.get(before[0]["key"])
    assert empty is not None
    none = np.zeros(0, np.int64)
    kept = empty[0]
    recent.add(
        dataclasses.replace(
            kept,
            alerts=dataclasses.replace(
                kept.alerts, alert_id=none, curves=kept.alerts.curves.take(none)
            ),
        )
    )
    assert recent.find(ALL, 500) == before
