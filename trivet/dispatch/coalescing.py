"""Calls in flight, by the inputs they compute, so that equal inputs are computed once.

One caller's cancellation does not affect the others; the last one cancels the call. An error goes to the caller that
started the call, since it may be about another of that caller's inputs; callers that joined get None and start a call
of their own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from types import TracebackType
from typing import Generic, Self, TypeVar

from trivet.errors import Unavailable
from trivet.messages import Priority

T = TypeVar("T")

_OPEN_TO: dict[Priority, tuple[Priority, ...]] = {"interactive": ("interactive",), "bulk": ("interactive", "bulk")}
"""Whose calls in flight a request may join: a person does not wait in the line of an indexing job."""


class InFlightCall(Generic[T]):
    """One call. Wait for it inside `with call:` only."""

    def __init__(self, work: Coroutine[None, None, T], context: Context, forget: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work, context=context)
        self._task.add_done_callback(self._ended)
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
            self._forget()  # before it ends: nobody may join what is being cancelled
            self._task.cancel()

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._forget()
        if not task.cancelled():
            task.exception()  # seen: whoever started it may have left

    async def result(self) -> T:
        """What the call came to, or its error: for the one who started it."""
        await asyncio.wait([self._task])
        if self._task.cancelled():  # by nobody who waits here: they are the ones who could
            raise Unavailable("the call was given up by the lane that ran it")
        return self._task.result()

    async def result_or_none(self) -> T | None:
        """What the call came to; None if it failed: for those who joined."""
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
        """The calls in flight that compute some of the keys and may be joined."""
        found: dict[bytes, InFlightCall[T]] = {}
        for key in keys:
            for theirs in _OPEN_TO[priority]:
                in_flight = self._in_flight.get((theirs, key))
                if in_flight is not None:
                    found[key] = in_flight
                    break
        return found

    def start(
        self, keys: Iterable[bytes], priority: Priority, work: Coroutine[None, None, T], context: Context
    ) -> InFlightCall[T]:
        """Run `work`, which computes the keys, in a task of its own with this context."""
        places = [(priority, key) for key in keys]

        def forget() -> None:
            for place in places:
                if self._in_flight.get(place) is in_flight:
                    del self._in_flight[place]

        in_flight = InFlightCall(work, context, forget)
        self._in_flight.update(dict.fromkeys(places, in_flight))
        return in_flight
