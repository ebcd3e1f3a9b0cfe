"""Calls are bounded, their results come in the order of completion, and none stays open."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from trivet.dispatch.concurrency import bounded_as_completed


class Gates:
    """Calls that finish when their gate is opened, and record whether they were cancelled."""

    def __init__(self, count: int) -> None:
        self.gates = [asyncio.Event() for _ in range(count)]
        self.started: list[int] = []
        self.cancelled: list[int] = []

    def call(self, index: int) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            self.started.append(index)
            try:
                await self.gates[index].wait()
            except asyncio.CancelledError:
                self.cancelled.append(index)
                raise
            return index * 10

        return run

    def calls(self) -> list[Callable[[], Awaitable[int]]]:
        return [self.call(index) for index in range(len(self.gates))]


async def test_results_come_in_the_order_of_completion() -> None:
    gates = Gates(3)
    async with aclosing(bounded_as_completed(gates.calls(), 3)) as finished:
        for index in (2, 0, 1):
            gates.gates[index].set()
            assert await anext(finished) == (index, index * 10)
        assert await anext(finished, None) is None


async def test_no_more_than_the_limit_are_open() -> None:
    gates = Gates(5)
    async with aclosing(bounded_as_completed(gates.calls(), 2)) as finished:
        gates.gates[0].set()
        await anext(finished)
        assert gates.started == [0, 1]  # the next one starts when the consumer comes back
        gates.gates[1].set()
        await anext(finished)
        assert gates.started == [0, 1, 2]


async def test_leaving_early_cancels_what_is_open() -> None:
    gates = Gates(3)
    async with aclosing(bounded_as_completed(gates.calls(), 3)) as finished:
        gates.gates[1].set()
        await anext(finished)
    assert sorted(gates.cancelled) == [0, 2]


async def test_an_error_cancels_the_others() -> None:
    gates = Gates(2)

    async def fails() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await anext(bounded_as_completed([*gates.calls(), fails], 3))
    assert gates.cancelled == [0, 1]


async def test_time_runs_out_for_all_together() -> None:
    gates = Gates(2)
    with pytest.raises(TimeoutError):
        await anext(bounded_as_completed(gates.calls(), 2, timeout_s=0.01))
    assert gates.cancelled == [0, 1]


async def test_nothing_to_do() -> None:
    assert [item async for item in bounded_as_completed([], 4)] == []
