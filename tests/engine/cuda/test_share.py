"""A process's share of the GPU: what lies outside the allocator is measured, and the allocator gets the rest."""

import logging

import pytest

from trivet.engine.cuda.share import Share
from trivet.gpu import CONTEXT_BYTES
from trivet.units import GIB, MIB

TOTAL_BYTES = 8 * GIB


class Driver:
    """States what the process holds, and keeps the caps of its allocator."""

    def __init__(self, process_bytes: int | None) -> None:
        self.process_bytes = process_bytes
        self.caps: list[float] = []

    def share(self, gpu_fraction: float = 0.25) -> Share:
        return Share(
            gpu_fraction,
            TOTAL_BYTES,
            model="reranker",
            process_bytes=lambda: self.process_bytes,
            cap_allocator=self.caps.append,
        )


def test_the_allocator_gets_what_the_context_leaves_of_the_share(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    driver = Driver(process_bytes=1000 * MIB)
    share = driver.share()
    assert share.measured_bytes is None
    assert driver.caps == [pytest.approx((2048 * MIB - CONTEXT_BYTES) / TOTAL_BYTES)]
    share.measure(held_bytes=240 * MIB)
    assert share.measured_bytes == 760 * MIB
    assert share.allocator_bytes == 1288 * MIB
    assert driver.caps[-1] == pytest.approx(1288 * MIB / TOTAL_BYTES)
    [line] = caplog.messages
    assert "reranker: its process holds 760 MiB of the GPU outside the allocator (assumed: 450 MiB)" in line
    assert "may take 1.3 GiB" in line


def test_a_smaller_context_than_assumed_leaves_more() -> None:
    driver = Driver(process_bytes=500 * MIB)
    share = driver.share()
    before = share.allocator_bytes
    share.measure(held_bytes=200 * MIB)
    assert share.allocator_bytes == before + CONTEXT_BYTES - 300 * MIB


@pytest.mark.parametrize("process_bytes", [None, 100 * MIB, 240 * MIB])
def test_what_the_driver_does_not_say_or_cannot_mean_changes_nothing(process_bytes: int | None) -> None:
    driver = Driver(process_bytes)
    share = driver.share()
    share.measure(held_bytes=240 * MIB)
    assert share.measured_bytes is None
    assert len(driver.caps) == 1


def test_a_share_smaller_than_the_context_leaves_nothing() -> None:
    driver = Driver(process_bytes=700 * MIB)
    share = driver.share(gpu_fraction=0.05)
    share.measure(held_bytes=0)
    assert share.allocator_bytes == 0
    assert driver.caps[-1] == 0.0
