from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from stream.accounting import Accounting
from stream.clock import night_start_ms
from stream.history import History, Lag, lag_of
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes


class HandClock:
    """A clock that is set by hand, Unix ms."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


EVENING = _ms("2026-11-23T16:59:00")


@pytest.fixture
def clock() -> HandClock:
    return HandClock(EVENING)


@pytest.fixture
def accounting() -> Accounting:
    return Accounting()


@pytest.fixture
def history(accounting: Accounting, metrics: Metrics, clock: HandClock) -> History:
    return History(accounting, metrics, clock)


def _deliver(history: History, accounting: Accounting, outcomes: Outcomes) -> None:
    accounting.consumed(outcomes.messages)
    accounting.delivered(outcomes)
    history.record(outcomes)


def test_a_sample_has_the_rates_and_outcomes_since_the_last(
    history: History, accounting: Accounting, clock: HandClock, outcomes: Outcomes
) -> None:
    _deliver(history, accounting, outcomes)
    clock.now_ms += 10_000
    history.sample()
    _deliver(history, accounting, outcomes)
    _deliver(history, accounting, outcomes)
    clock.now_ms += 10_000
    history.sample()
    clock.now_ms += 10_000
    history.sample()
    first, second, third = history.samples()
    assert first.end_ms == EVENING + 10_000
    assert (first.seconds, first.messages) == (10, len(outcomes.messages))
    assert first.alerts == len(outcomes.alerts)
    assert first.classified == len(outcomes.classified)
    assert first.classified + first.not_classified.total() == len(outcomes.alerts)
    assert first.dead_letters.total() == outcomes.n_refused
    assert second.alerts == 2 * first.alerts
    assert second.not_classified.total() == 2 * first.not_classified.total()
    assert (third.alerts, third.classified, third.latency_s) == (0, 0, None)
    assert not third.dead_letters


def test_latency_is_from_append_to_delivery(
    history: History, clock: HandClock, outcomes: Outcomes
) -> None:
    appended = np.full(len(outcomes.messages), -1, np.int64)
    known = np.unique(outcomes.alerts.message)
    appended[known] = clock.now_ms - np.linspace(100, 2000, len(known)).astype(np.int64)
    messages = dataclasses.replace(outcomes.messages, timestamp_ms=appended)
    history.record(dataclasses.replace(outcomes, messages=messages))
    history.sample()
    (sample,) = history.samples()
    latency_s = (clock.now_ms - appended[outcomes.alerts.message]) / 1000
    assert sample.latency_s == pytest.approx(tuple(np.percentile(latency_s, [50, 95])))
    assert history.last_alert_ms == clock.now_ms


def test_messages_without_a_time_have_no_latency(history: History, outcomes: Outcomes) -> None:
    history.record(outcomes)
    history.sample()
    assert history.samples()[0].latency_s is None


def test_samples_reach_back_an_hour(history: History, clock: HandClock) -> None:
    for _ in range(500):
        clock.now_ms += 10_000
        history.sample()
    samples = history.samples()
    assert len(samples) == 360
    assert samples[-1].end_ms == clock.now_ms
    assert samples[-1].end_ms - samples[0].end_ms == 3_590_000


def test_tonight_begins_anew_at_nightfall(
    history: History, accounting: Accounting, clock: HandClock, outcomes: Outcomes
) -> None:
    _deliver(history, accounting, outcomes)
    history.sample()
    assert history.tonight().since_ms == EVENING
    assert history.tonight().classes.total() == len(outcomes.classified)
    clock.now_ms = _ms("2026-11-23T17:00:05")
    history.sample()
    tonight = history.tonight()
    assert tonight.since_ms == _ms("2026-11-23T17:00:00")
    assert (tonight.alerts, tonight.classified, tonight.classes.total()) == (0, 0, 0)
    _deliver(history, accounting, outcomes)
    assert history.tonight().classes.total() == len(outcomes.classified)
    assert history.tonight().dead_letters.total() == outcomes.n_refused


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-24T04:00:00", "2026-11-23T17:00:00"),
        ("2026-11-23T23:59:59", "2026-11-23T17:00:00"),
        ("2026-11-23T17:00:00", "2026-11-23T17:00:00"),
        ("2026-11-23T16:59:59", "2026-11-22T17:00:00"),
    ],
)
def test_a_night_begins_in_the_afternoon(now: str, start: str) -> None:
    assert night_start_ms(_ms(now)) == _ms(start)


def test_lag_is_that_of_the_last_partition_and_of_all_messages(metrics: Metrics) -> None:
    assert lag_of(metrics) == Lag(None, None)
    for partition, (seconds, messages) in enumerate([(0, 0), (12.5, 40), (3, 2)]):
        metrics.consumer_lag_seconds.labels("alerts", str(partition)).set(seconds)
        metrics.consumer_lag_messages.labels("alerts", str(partition)).set(messages)
    assert lag_of(metrics) == Lag(12.5, 42)
