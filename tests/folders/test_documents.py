"""Reading a folder in a thread."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from trivet.folders.documents import collected


async def test_a_cancelled_caller_ends_the_reading_at_the_next_item() -> None:
    started, cancelled = threading.Event(), threading.Event()
    read: list[int] = []

    def items() -> Iterator[int]:
        started.set()
        cancelled.wait(10)
        for item in range(100_000):
            read.append(item)
            yield item

    reading = asyncio.create_task(collected(items()))
    await asyncio.to_thread(started.wait, 10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    cancelled.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # as at the end of a program: waits for the thread
    assert len(read) == 1


async def test_all_items_are_read_in_order() -> None:
    assert await collected(iter(range(5))) == [0, 1, 2, 3, 4]
