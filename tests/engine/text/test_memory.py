"""Free memory goes back to the system soon after long texts, and seldom."""

import asyncio

import pytest

from trivet.engine.text import memory


async def test_memory_is_given_back_once_for_many_requests_and_again_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    returns: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(memory, "_AFTER_S", 0.01)
    monkeypatch.setattr(memory, "give_back", lambda: loop.call_soon_threadsafe(returns.put_nowait, None))
    returning = memory.MemoryReturn()
    for _ in range(5):
        returning.soon()
    assert returns.empty()  # the texts are still held
    await asyncio.wait_for(returns.get(), 5)
    returning.soon()
    await asyncio.wait_for(returns.get(), 5)
    returning.soon()
    returning.close()
    await asyncio.sleep(0.03)
    assert returns.empty()
