"""What is too long for a forward, by those that have ended."""

import pytest

from trivet.engine.scheduling.metrics import Pace


def test_before_anything_has_ended_little_is_known() -> None:
    pace = Pace()
    assert pace.stuck_after_s(1, 5.0) == pace.stuck_after_s(16_384, 5.0) == 30.0
    assert pace.drain_s(1_000_000) == 1.0


def test_small_forwards_do_not_tell_how_long_large_ones_take() -> None:
    pace = Pace()
    pace.forward_ended(8, 0.003)
    assert (pace.stuck_after_s(8, 5.0), pace.stuck_after_s(16_384, 5.0)) == (5.0, 30.0)
    for _ in range(100):
        pace.forward_ended(10_000, 2.0)
    for _ in range(1000):
        pace.forward_ended(8, 0.003)
    assert pace.stuck_after_s(10_000, 5.0) == pytest.approx(20.0)
    assert pace.stuck_after_s(100, 5.0) == 5.0


def test_newer_forwards_count_more() -> None:
    pace = Pace()
    for took_s in (*[1.0] * 100, *[3.0] * 100):
        pace.forward_ended(1_000, took_s)
    assert pace.stuck_after_s(1_000, 5.0) == pytest.approx(30.0, rel=0.01)
    assert pace.drain_s(6_000) == pytest.approx(9.0, rel=0.01)
