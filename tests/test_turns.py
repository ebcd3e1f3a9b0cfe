"""Long work takes turns: little work waits for one step of the others, and each has its own error."""

import threading
from concurrent.futures import CancelledError

import pytest

from trivet.turns import Steps, Turns, finish


def work(name: str, sizes: list[int], log: list[str], gate: threading.Event | None = None) -> Steps[str]:
    for size in sizes:
        yield size
        if gate is not None:
            gate.wait(10)
        log.append(name)
    return name


def test_little_work_overtakes_and_much_work_alternates() -> None:
    log: list[str] = []
    gate = threading.Event()
    turns = Turns(1, "test")
    try:
        first = turns.submit(work("first", [1], log, gate))
        while turns._waiting:  # until its only thread waits at the gate
            pass
        waiting = [
            turns.submit(work("a", [100, 100, 100], log)),
            turns.submit(work("b", [100, 100, 100], log)),
            turns.submit(work("short", [10], log)),
        ]
        gate.set()
        assert [future.result(10) for future in (first, *waiting)] == ["first", "a", "b", "short"]
        assert log == ["first", "short", "a", "b", "a", "b", "a", "b"]
    finally:
        turns.close()


def test_work_that_is_cancelled_ends_at_its_next_step() -> None:
    log: list[str] = []
    gate = threading.Event()
    turns = Turns(1, "test")
    try:
        future = turns.submit(work("a", [5, 5, 5], log, gate))
        while turns._waiting:
            pass
        future.cancel()
        gate.set()
        assert turns.submit(work("b", [1], log)).result(10) == "b"
        with pytest.raises(CancelledError):
            future.result(0)
        assert log.count("a") <= 1
    finally:
        turns.close()


def test_an_error_reaches_who_submitted_the_work_and_no_one_else() -> None:
    def failing() -> Steps[str]:
        yield 1
        raise ValueError("broken")

    turns = Turns(2, "test")
    try:
        broken, whole = turns.submit(failing()), turns.submit(work("whole", [1], []))
        with pytest.raises(ValueError, match="broken"):
            broken.result(10)
        assert whole.result(10) == "whole"
    finally:
        turns.close()


def test_closing_cancels_what_waits() -> None:
    gate = threading.Event()
    turns = Turns(1, "test")
    turns.submit(work("a", [1], [], gate))
    while turns._waiting:
        pass
    waiting = turns.submit(work("b", [1], []))
    gate.set()
    turns.close()
    assert waiting.done()
    assert turns.submit(work("c", [1], [])).cancelled()


def test_all_steps_at_once() -> None:
    assert finish(work("a", [1, 2], [])) == "a"
