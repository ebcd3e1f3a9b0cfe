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
    assert driver.caps == [0.25], "weights that fit beside a smaller context than assumed must not be refused"
    share.measure(lambda: 240 * MIB)
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
    share.measure(lambda: 200 * MIB)
    assert share.allocator_bytes == before + CONTEXT_BYTES - 300 * MIB


@pytest.mark.parametrize("process_bytes", [None, 100 * MIB, 240 * MIB, 20 * GIB])
def test_what_the_driver_does_not_say_or_cannot_mean_changes_nothing(
    process_bytes: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """In a container the number of this process may be that of another one outside."""
    driver = Driver(process_bytes)
    share = driver.share()
    for _ in range(2):
        share.measure(lambda: 240 * MIB)
    assert share.measured_bytes is None
    assert driver.caps[-1] == pytest.approx((2048 * MIB - CONTEXT_BYTES) / TOTAL_BYTES)
    assert caplog.text.count("not believed") == (0 if process_bytes is None else 1)


def test_memory_that_is_taken_meanwhile_is_counted_to_neither() -> None:
    driver = Driver(process_bytes=1000 * MIB)
    share = driver.share()
    held = iter([240 * MIB, 300 * MIB])
    share.measure(lambda: next(held))
    assert share.measured_bytes is None


def test_a_context_that_has_grown_leaves_less(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    driver = Driver(process_bytes=1000 * MIB)
    share = driver.share()
    for process_bytes in (1000 * MIB, 1000 * MIB, 1130 * MIB):
        driver.process_bytes = process_bytes
        share.measure(lambda: 240 * MIB)
    assert share.measured_bytes == 890 * MIB
    assert driver.caps[-1] == pytest.approx((2048 - 890) * MIB / TOTAL_BYTES)
    assert len(caplog.messages) == 2


def test_a_share_smaller_than_the_context_leaves_nothing() -> None:
    driver = Driver(process_bytes=700 * MIB)
    share = driver.share(gpu_fraction=0.05)
    share.measure(lambda: 0)
    assert share.allocator_bytes == 0
    assert driver.caps[-1] == 0.0
