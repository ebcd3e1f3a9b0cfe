"""Runs many calls, a bounded number at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def within(items: AsyncIterator[T], timeout_s: float) -> AsyncIterator[T]:
    """Yield the items of an iterator; TimeoutError if the next one is not there `timeout_s` after the start.

    The deadline applies to the iterator, not to the consumer: `asyncio.timeout` around the loop would cancel the
    consumer in whatever else it does.
    """
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        async with asyncio.timeout_at(deadline_s):
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
        yield item


async def bounded_as_completed(
    calls: Sequence[Callable[[], Awaitable[T]]], limit: int, *, timeout_s: float | None = None
) -> AsyncIterator[tuple[int, T]]:
    """Yield (index of the call, its result) in the order of completion.

    A call starts only when fewer than `limit` are open and the consumer has taken every finished result, so a slow
    reader holds work back. Leaving the loop, by an error of a call or of the consumer, cancels the open calls.

    Raises:
        TimeoutError: `timeout_s` has passed since the start.
    """
    loop = asyncio.get_running_loop()
    deadline_s = None if timeout_s is None else loop.time() + timeout_s
    waiting = iter(enumerate(calls))
    open_calls: dict[asyncio.Future[T], int] = {}
    try:
        while True:
            while len(open_calls) < limit and (following := next(waiting, None)) is not None:
                index, call = following
                open_calls[asyncio.ensure_future(call())] = index
            if not open_calls:
                return
            left_s = None if deadline_s is None else max(0.0, deadline_s - loop.time())
            finished, _ = await asyncio.wait(open_calls, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not finished:
                raise TimeoutError
            for future in finished:
                # Removed only after its result is read: another call's error must not lose this one's.
                yield open_calls[future], future.result()
                del open_calls[future]
    finally:
        for future in open_calls:
            future.cancel()
        await asyncio.gather(*open_calls, return_exceptions=True)
