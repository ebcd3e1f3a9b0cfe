"""Calls in flight, by the inputs they compute, so that equal inputs are computed once.

One caller's cancellation does not affect the others; the last one cancels the call. An error goes only to the caller
that started the call, since it may be about another of that caller's inputs. Callers that joined get None and start a
call themselves.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from types import TracebackType
from typing import Generic, Self, TypeVar

from trivet.errors import Unavailable
from trivet.messages import Priority

T = TypeVar("T")

_JOINABLE: dict[Priority, tuple[Priority, ...]] = {"interactive": ("interactive",), "bulk": ("interactive", "bulk")}
"""Priorities of the calls that a request may join: an interactive one does not wait for a bulk call."""


class InFlightCall(Generic[T]):
    """One call. Wait for it inside `with call:` only."""

    def __init__(self, work: Coroutine[None, None, T], context: Context, forget: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work, context=context)
        self._task.add_done_callback(self._on_done)
        self._forget = forget
        self._waiting = 0

    def __enter__(self) -> Self:
        self._waiting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting -= 1
        if not self._waiting and not self._task.done():
            self._forget()  # before the task ends, so that no request joins a call that is being cancelled
            self._task.cancel()

    def _on_done(self, task: "asyncio.Task[T]") -> None:
        self._forget()
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller that started the call may have left

    async def result(self) -> T:
        """Return the result of the call, or raise its error: for the caller that started it."""
        await asyncio.wait([self._task])
        if self._task.cancelled():  # not by a caller, since one still waits here
            raise Unavailable("the lane that ran the call cancelled it")
        return self._task.result()

    async def result_or_none(self) -> T | None:
        """Return the result of the call, or None if it failed: for callers that joined."""
        await asyncio.wait([self._task])
        if self._task.cancelled() or self._task.exception() is not None:
            return None
        return self._task.result()


class InFlightCalls(Generic[T]):
    """All calls in flight of one event loop."""

    def __init__(self) -> None:
        self._in_flight: dict[tuple[Priority, bytes], InFlightCall[T]] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def find(self, keys: Iterable[bytes], priority: Priority) -> dict[bytes, InFlightCall[T]]:
        """Find the calls that compute some of the keys and that a request of this priority may join."""
        found: dict[bytes, InFlightCall[T]] = {}
        for key in keys:
            for joinable in _JOINABLE[priority]:
                in_flight = self._in_flight.get((joinable, key))
                if in_flight is not None:
                    found[key] = in_flight
                    break
        return found

    def start(
        self, keys: Iterable[bytes], priority: Priority, work: Coroutine[None, None, T], context: Context
    ) -> InFlightCall[T]:
        """Run `work`, which computes the keys, in a new task with this context."""
        slots = [(priority, key) for key in keys]

        def forget() -> None:
            for slot in slots:
                if self._in_flight.get(slot) is in_flight:
                    del self._in_flight[slot]

        in_flight = InFlightCall(work, context, forget)
        self._in_flight.update(dict.fromkeys(slots, in_flight))
        return in_flight
