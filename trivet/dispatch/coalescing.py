"""Calls in progress, by the inputs they compute, so that nobody starts the same again.

A flight lives as long as somebody waits for it: who leaves takes nobody along, and the last one to leave ends it. Its
error belongs to the one who started it, since it may be about another input of theirs; who had only joined is told
that nothing came, and makes a call of their own.
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
"""Whose flights a request may join: a person does not wait in the line of an indexing job."""


class Flight(Generic[T]):
    """One call. Wait for it inside `with flight:` only."""

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

    async def landed(self) -> T | None:
        """What the call came to; None if it failed: for those who joined."""
        await asyncio.wait([self._task])
        if self._task.cancelled() or self._task.exception() is not None:
            return None
        return self._task.result()


class Flights(Generic[T]):
    """All flights of one event loop."""

    def __init__(self) -> None:
        self._flights: dict[tuple[Priority, bytes], Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, keys: Iterable[bytes], priority: Priority) -> dict[bytes, Flight[T]]:
        """The flights that compute some of the keys and may be joined."""
        found: dict[bytes, Flight[T]] = {}
        for key in keys:
            for theirs in _OPEN_TO[priority]:
                flight = self._flights.get((theirs, key))
                if flight is not None:
                    found[key] = flight
                    break
        return found

    def start(
        self, keys: Iterable[bytes], priority: Priority, work: Coroutine[None, None, T], context: Context
    ) -> Flight[T]:
        """Run `work`, which computes the keys, in a task of its own with this context."""
        places = [(priority, key) for key in keys]

        def forget() -> None:
            for place in places:
                if self._flights.get(place) is flight:
                    del self._flights[place]

        flight = Flight(work, context, forget)
        self._flights.update(dict.fromkeys(places, flight))
        return flight
