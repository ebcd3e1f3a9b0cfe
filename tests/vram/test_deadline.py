import threading

import pytest

from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging


def test_results_and_errors_come_back() -> None:
    thread = DeadlineThread[int]("t")

    def fail() -> int:
        raise TimeoutError("the function's own")

    assert thread.call(lambda: 7, timeout_s=5.0) == 7
    with pytest.raises(TimeoutError, match="own"):
        thread.call(fail, timeout_s=5.0)
    assert thread.call(lambda: 8, timeout_s=5.0) == 8, "an error does not end the thread"


def test_a_hung_call_rejects_later_calls_until_it_returns() -> None:
    thread = DeadlineThread[str]("t")
    let_go, began = threading.Event(), threading.Event()

    def hang() -> str:
        began.set()
        assert let_go.wait(timeout=10.0)
        return "late"

    before = threading.active_count()
    with pytest.raises(CallTimedOut):
        thread.call(hang, timeout_s=0.05)
    assert began.is_set()
    for _ in range(20):
        with pytest.raises(StillHanging):
            thread.call(lambda: "never started", timeout_s=5.0)
    assert threading.active_count() == before + 1, "one stuck call costs one thread"
    let_go.set()
    assert first_answer(thread) == "fresh", "the late result is discarded"


def first_answer(thread: DeadlineThread[str]) -> str:
    pause = threading.Event()
    for _ in range(1000):
        try:
            return thread.call(lambda: "fresh", timeout_s=5.0)
        except StillHanging:
            pause.wait(0.002)  # the worker needs a moment to return
    raise AssertionError("the worker never returned")


def test_calls_run_on_one_thread_that_is_not_the_callers() -> None:
    thread = DeadlineThread[int]("t")
    idents = {thread.call(threading.get_ident, timeout_s=5.0) for _ in range(5)}
    assert len(idents) == 1
    assert threading.get_ident() not in idents
