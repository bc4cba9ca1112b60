from __future__ import annotations

import dataclasses
import time

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts import MessageBatch
from stream.duplicates import DuplicateWindow
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from tests.records import rows


def marked(window: DuplicateWindow, ids: list[int], places: list[int]) -> list[bool]:
    marks = window._mark(np.array(ids, np.int64), np.array(places, np.int64))
    return [bool(mark) for mark in marks]


def test_a_repeat_is_marked_within_a_batch_and_later() -> None:
    window = DuplicateWindow(100)
    assert marked(window, [1, 2, 1, 3], [0, 1, 2, 3]) == [False, False, True, False]
    assert marked(window, [3, 4, 2], [4, 5, 6]) == [True, False, True]


def test_the_same_message_read_again_is_no_duplicate() -> None:
    window = DuplicateWindow(100)
    assert marked(window, [1, 2], [10, 11]) == [False, False]
    assert marked(window, [1, 2, 1], [10, 11, 12]) == [False, False, True]
    assert marked(window, [1], [12]) == [True]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-40, 40), max_size=300), st.integers(1, 30), st.integers(1, 50))
def test_the_window_keeps_its_word(ids: list[int], size: int, batch: int) -> None:
    window = DuplicateWindow(size)
    got: list[bool] = []
    for i in range(0, len(ids), batch):
        got += marked(window, ids[i : i + batch], list(range(i, min(i + batch, len(ids)))))
    for i, value in enumerate(ids):
        before = ids[:i]
        if value not in before:
            assert not got[i], "never a false mark"
        elif value in before[-size:]:
            assert got[i], "never missed within the window"


def test_extreme_ids() -> None:
    window = DuplicateWindow(10)
    ids = [-(2**63), 2**63 - 1, 0, -1]
    assert marked(window, ids, [0, 1, 2, 3]) == [False] * 4
    assert marked(window, ids, [4, 5, 6, 7]) == [True] * 4


def test_memory_is_bounded_and_an_alert_costs_less_than_a_microsecond() -> None:
    window = DuplicateWindow(100_000)
    n_bytes = window.n_bytes
    assert n_bytes <= 128 * 100_000
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, 2**62, 512) for _ in range(600)]
    places = np.arange(512)
    best = min(_seconds(window, batches[i : i + 100], places) for i in range(0, 600, 100))
    assert window.n_bytes == n_bytes
    assert best / (100 * 512) < 1e-6


def _seconds(
    window: DuplicateWindow,
    batches: list[npt.NDArray[np.int64]],
    places: npt.NDArray[np.int64],
) -> float:
    start = time.perf_counter()
    for batch in batches:
        window._mark(batch, places)
    return time.perf_counter() - start


def test_ids_made_to_collide_are_never_marked_falsely() -> None:
    """All in one chain of slots: what does not fit into the probes is forgotten."""
    window = DuplicateWindow(1000)
    keys = _colliding(200, 2048)
    assert not any(marked(window, keys, list(range(200))))
    again = marked(window, keys, list(range(200, 400)))
    assert sum(again) == 32


def _colliding(n: int, capacity: int) -> list[int]:
    """Return keys that all belong into slot 0."""
    first, second = (pow(x, -1, 2**64) for x in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93))
    keys = []
    for i in range(n):
        mixed = (i * capacity) ^ ((i * capacity) >> 32)
        mixed = mixed * second % 2**64
        key = (mixed ^ (mixed >> 32)) * first % 2**64
        keys.append(key - 2**64 if key >= 2**63 else key)
    return keys


def test_the_pipeline_marks_and_counts(
    pipeline: Pipeline, all_messages: MessageBatch, outcomes: Outcomes
) -> None:
    metrics = Metrics()
    watching = Pipeline(
        pipeline._decoder, pipeline.classifier, metrics, duplicates=DuplicateWindow(1000)
    )
    first = watching.process(all_messages)
    assert first.duplicate is not None
    twice = len(first.alerts) - len(set(zip(_surveys(first), first.alerts.alert_id, strict=True)))
    assert first.duplicate.sum() == twice
    again = watching.process(all_messages)
    assert again.duplicate is not None
    assert again.duplicate.sum() == twice, "read again from the same places"
    moved = dataclasses.replace(all_messages, offset=all_messages.offset + 10_000)
    second = watching.process(moved)
    assert second.duplicate is not None
    assert second.duplicate.all()
    assert all(row["duplicate"] for row in rows(second))
    metrics.delivered(second, 0)
    assert metrics.registry.get_sample_value("tinyt2_duplicates_total") == len(second.alerts)


def test_without_a_window_nothing_is_said(outcomes: Outcomes) -> None:
    assert outcomes.duplicate is None
    assert {row["duplicate"] for row in rows(outcomes)} == {None}


def _surveys(outcomes: Outcomes) -> list[str]:
    survey: list[str] = outcomes.alerts.survey.to_pylist()
    return survey
