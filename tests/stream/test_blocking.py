from __future__ import annotations

import threading

import pytest

from stream.blocking import BlockingCalls


def test_a_call_is_waited_for_in_slices_and_made_once() -> None:
    calls, answer, made = BlockingCalls("test"), threading.Event(), []

    def call() -> None:
        made.append(threading.current_thread().name)
        answer.wait(10)

    assert not calls.wait("a", call, 0.01)
    assert not calls.wait("a", call, 0.01)
    answer.set()
    assert calls.wait("a", call, 10)
    assert made == ["test"]
    calls.close()


def test_another_call_is_made_after_the_one_that_runs() -> None:
    calls, answer, made = BlockingCalls("test"), threading.Event(), []
    assert not calls.wait("a", lambda: answer.wait(10), 0.01)
    assert not calls.wait("b", lambda: made.append("b"), 0.01)
    assert made == []
    answer.set()
    assert calls.wait("b", lambda: made.append("b"), 10)
    assert made == ["b"]
    calls.close()


def test_what_a_call_raises_is_raised_and_the_next_one_is_made() -> None:
    calls = BlockingCalls("test")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        calls.wait("a", fail, 10)
    assert calls.wait("a", lambda: None, 10)
    calls.close()


def test_its_thread_ends() -> None:
    calls = BlockingCalls("ends soon")
    calls.close()
    for thread in threading.enumerate():
        if thread.name == "ends soon":
            thread.join(10)
            assert not thread.is_alive()
