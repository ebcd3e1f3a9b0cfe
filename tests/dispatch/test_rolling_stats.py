"""Counting by the second: a clock that is set, never waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.dispatch.rolling_stats import KEPT_S, Rolling


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rolling(clock: Clock) -> Rolling:
    return Rolling(clock)


def test_nothing_yet(rolling: Rolling) -> None:
    summary = rolling.summary()
    assert (summary.calls, summary.failed, summary.tokens) == (0, 0, 0)
    assert summary.p50_s is None
    assert summary.p95_s is None
    series = rolling.series()
    assert series.calls == (0,) * KEPT_S
    assert series.p50_s == (None,) * KEPT_S


def test_a_series_shows_whole_seconds_only(rolling: Rolling, clock: Clock) -> None:
    rolling.answered(0.1, tokens=7, rerouted=False)
    assert sum(rolling.series().calls) == 0  # the second has only begun
    assert rolling.summary().calls == 1
    clock.now_s += 1
    assert rolling.series().calls[-1] == 1
    assert rolling.series().tokens[-1] == 7
    clock.now_s += 2
    assert rolling.series().calls[-3:] == (1, 0, 0)


def test_old_seconds_leave_the_summary_and_then_the_series(rolling: Rolling, clock: Clock) -> None:
    rolling.answered(0.1, tokens=7, rerouted=True)
    clock.now_s += 59
    assert rolling.summary(60).rerouted == 1
    clock.now_s += 1
    assert rolling.summary(60).calls == 0
    clock.now_s += KEPT_S - 60
    assert rolling.series().calls[0] == 1
    clock.now_s += 1
    assert sum(rolling.series().calls) == 0


def test_failures_count_as_calls_without_a_latency(rolling: Rolling) -> None:
    rolling.failed()
    summary = rolling.summary()
    assert (summary.calls, summary.failed, summary.p50_s) == (1, 1, None)


def test_old_rows_are_used_again_however_long_it_runs(rolling: Rolling, clock: Clock) -> None:
    for _ in range(10 * KEPT_S):
        rolling.answered(0.01, tokens=1, rerouted=False)
        clock.now_s += 1
    assert rolling.summary(60).calls == 59  # the current second is empty
    assert rolling.series().calls == (1,) * KEPT_S


@given(st.lists(st.floats(0.0002, 500), min_size=1, max_size=200), st.sampled_from([(0.5, "p50_s"), (0.95, "p95_s")]))
def test_percentiles_are_off_by_at_most_a_twentieth(latencies: list[float], asked: tuple[float, str]) -> None:
    rolling = Rolling(Clock())
    for latency_s in latencies:
        rolling.answered(latency_s, tokens=0, rerouted=False)
    share, name = asked
    exact = sorted(latencies)[max(0, -(-round(share * 1000) * len(latencies) // 1000) - 1)]
    assert getattr(rolling.summary(), name) == pytest.approx(exact, rel=0.05)


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=100))
def test_series_and_summary_agree(steps: list[tuple[float, bool]]) -> None:
    clock = Clock()
    rolling = Rolling(clock)
    for wait_s, rerouted in steps:
        clock.now_s += wait_s
        rolling.answered(0.01, tokens=3, rerouted=rerouted)
    clock.now_s += 1
    assert sum(rolling.series().calls) == rolling.summary(KEPT_S + 1).calls
    assert sum(rolling.series().tokens) == rolling.summary(KEPT_S + 1).tokens
