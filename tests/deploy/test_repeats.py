"""Lines that repeat are limited, and counted."""

from __future__ import annotations

import logging

import pytest

from deploy.repeats import RepeatLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> RepeatLimit:
    return RepeatLimit(most=3, period_s=60, clock=clock)


def line(text: object, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("librdkafka", level, "", 0, text, args, None)


def test_lines_that_differ_in_numbers_only_are_of_one_kind(limit: RepeatLimit) -> None:
    texts = [f"broker {i}:9092: connect failed (after {i} ms, 0x7f{i}a)" for i in range(10)]
    assert [limit.filter(line(text)) for text in texts] == [True] * 3 + [False] * 7


def test_other_texts_and_levels_are_other_kinds(limit: RepeatLimit) -> None:
    def passed() -> list[bool]:
        return [
            limit.filter(line(f"{word} failed", level=level)) for word in "ab" for level in (30, 40)
        ]

    assert [passed() for _ in range(4)] == [[True] * 4] * 3 + [[False] * 4]


def test_what_was_left_out_is_told(limit: RepeatLimit, clock: Clock) -> None:
    shown = []
    for second in range(100):
        clock.now = float(second)
        entry = line("%s is away", "kafka:9092")
        if limit.filter(entry):
            shown.append(entry.getMessage())
    assert shown == [
        "kafka:9092 is away",
        "kafka:9092 is away",
        "kafka:9092 is away [lines like this are left out for up to 60 s]",
        "kafka:9092 is away [57 lines like this were left out]",
        "kafka:9092 is away",
        "kafka:9092 is away [lines like this are left out for up to 60 s]",
    ]


def test_lines_of_structlog_are_told_apart_by_their_event(limit: RepeatLimit) -> None:
    entries = [line({"event": "commit failed", "error": str(i)}) for i in range(5)]
    assert [limit.filter(entry) for entry in entries] == [True] * 3 + [False] * 2
    message = entries[2].msg
    assert isinstance(message, dict)
    assert message["repeats"] == "lines like this are left out for up to 60 s"


def test_memory_does_not_grow_with_the_number_of_kinds(limit: RepeatLimit) -> None:
    def word(n: int) -> str:
        return bin(n).translate({48: "a", 49: "b"})

    for n in range(5000):
        assert limit.filter(line(word(n)))
    assert len(limit._kinds) == 1000
