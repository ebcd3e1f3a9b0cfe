"""The limits of one caller: exact over all processes, and never kept by one that ended or stands still."""

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.dispatch.allowance import Allowance, Limits, Refusal, refilled
from trivet.dispatch.shared_blocks import SharedBlocks

CALLER = b"the digest of a key"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


Open = Callable[..., Allowance]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Open:
    """Opens a caller's allowance in a further process; two of one process exclude each other as two would."""

    def open_allowance(caller: bytes = CALLER, **limits: int) -> Allowance:
        return Allowance(Limits(**limits), clock, SharedBlocks(tmp_path / "shared", 64), caller)

    return open_allowance


def admitted(allowance: Allowance) -> float | None:
    """Send a request; None, or after how many seconds the next one may be sent."""
    with allowance.admit() as refusal:
        return None if refusal is None else refusal.retry_after_s


@pytest.mark.parametrize("shared", [False, True])
def test_the_rate_limit_refills_steadily(opened: Open, clock: Clock, shared: bool) -> None:
    first = opened(requests_per_minute=30) if shared else Allowance(Limits(30), clock, SharedBlocks(None, 64), CALLER)
    second = opened(requests_per_minute=30) if shared else first
    assert [admitted((first, second)[number % 2]) for number in range(30)] == [None] * 30
    assert admitted(first) == admitted(second) == pytest.approx(2.0)  # one request every two seconds
    clock.now_s += 1.0
    assert admitted(second) == pytest.approx(1.0)
    clock.now_s += 1.0
    assert admitted(first) is None
    clock.now_s += 3600.0
    # An idle hour saves up no more than a minute's worth.
    assert [admitted((first, second)[number % 2]) for number in range(31)].count(None) == 30


def test_the_limit_of_open_requests_counts_those_of_all_and_counts_them_out_again(opened: Open) -> None:
    first, second = opened(concurrent=2), opened(concurrent=2)
    with first.admit() as one, second.admit() as other:
        assert one is other is None
        for allowance in (first, second):
            with allowance.admit() as refusal:
                assert refusal == Refusal("2 requests are open already, the most that this key may have", 1.0)
    assert admitted(first) is admitted(second) is None


def test_a_failing_request_is_counted_out_too(opened: Open) -> None:
    allowance = opened(concurrent=1)
    with pytest.raises(ValueError, match="no"), allowance.admit():
        raise ValueError("no")
    assert admitted(allowance) is None


def test_open_requests_outlive_a_change_of_the_limits(tmp_path: Path) -> None:
    blocks = SharedBlocks(tmp_path, 64)
    before = Allowance(Limits(concurrent=1), Clock(), blocks, CALLER)
    with before.admit():
        after = Allowance(Limits(concurrent=2), Clock(), blocks, CALLER)
        with after.admit() as second, after.admit() as third:
            assert second is None
            assert third is not None
    with after.admit() as first, after.admit() as second, after.admit() as third:
        assert (first, second) == (None, None)
        assert third is not None


def test_callers_do_not_count_for_each_other(opened: Open) -> None:
    with opened(concurrent=1).admit() as one, opened(b"another caller", concurrent=1).admit() as other:
        assert one is other is None


def test_a_caller_without_limits_needs_no_file(opened: Open, tmp_path: Path) -> None:
    assert admitted(opened()) is None
    assert list((tmp_path / "shared").glob("key*")) == []


def _take_and_be_killed(folder: Path) -> None:
    allowance = Allowance(Limits(10, 2), lambda: 100.0, SharedBlocks(folder, 64), CALLER)
    with allowance.admit(), allowance.admit():
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_has_nothing_open_and_has_used_what_it_used(opened: Open, tmp_path: Path) -> None:
    survivor = opened(requests_per_minute=10, concurrent=2)
    killed = multiprocessing.get_context("fork").Process(target=_take_and_be_killed, args=(tmp_path / "shared",))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    assert [admitted(survivor) for _ in range(9)].count(None) == 8
    successor = opened(requests_per_minute=10, concurrent=1)
    assert admitted(successor) == pytest.approx(6.0)


def _take_many(folder: Path, tries: int) -> None:
    allowance = Allowance(Limits(100), lambda: 100.0, SharedBlocks(folder, 64), CALLER)
    os._exit([admitted(allowance) for _ in range(tries)].count(None))


def test_processes_that_ask_at_the_same_time_get_exactly_the_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    callers = [context.Process(target=_take_many, args=(tmp_path / "shared", 80)) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    # A process that is descheduled while it holds the lock may let another one count without it.
    assert 100 <= sum(caller.exitcode or 0 for caller in callers) <= 103


def test_a_lock_that_is_kept_costs_milliseconds_and_the_limit_holds(opened: Open, tmp_path: Path) -> None:
    allowance = opened(requests_per_minute=2)
    [file] = (tmp_path / "shared").glob("key*")
    with ExitStack() as stack:
        holder = stack.enter_context(file.open("r+b"))
        fcntl.flock(holder, fcntl.LOCK_EX)
        started_s = time.monotonic()
        assert [admitted(allowance) for _ in range(3)] == [None, None, pytest.approx(30.0)]
        assert time.monotonic() - started_s < 5


@given(st.floats(0, 60), st.floats(-10, 1e6), st.integers(1, 10_000))
def test_a_bucket_only_fills_and_never_beyond_a_minute(allowance: float, passed_s: float, per_minute: int) -> None:
    after = refilled(min(allowance, per_minute), passed_s, per_minute)
    assert min(allowance, per_minute) <= after <= per_minute
