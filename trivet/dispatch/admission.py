"""Bounds the text that calls in flight hold in this process before any of it reaches a replica.

The bound is in characters, which are known at once. Tokens are not: counting them is the replica's work, and it bounds
them exactly (`limits.max_request_tokens`, `limits.max_queued_tokens`). Pure decisions, a thin shell.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from trivet.config import TASKS, Task
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import Overloaded
from trivet.messages import Request, ResultT

MEMORY_S = 10.0
"""Time constant of the drain rate: work fades from it exponentially."""

MIN_RETRY_S = 1.0
MAX_RETRY_S = 300.0
"""Bounds of `Retry-After`. A rate measured over a hiccup may promise any time; no request may take longer than this."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is in flight to one model, and how fast that drains."""

    open_characters: int = 0
    drained_per_s: float = 0.0
    """Characters; 0 before anything was measured."""

    @property
    def retry_after_s(self) -> float:
        """How long half of it takes at the measured rate."""
        if not self.drained_per_s:
            return MIN_RETRY_S
        return min(MAX_RETRY_S, max(MIN_RETRY_S, 0.5 * self.open_characters / self.drained_per_s))


def refusal(load: Load, characters: int, limit_characters: int) -> Overloaded | None:
    """Return the refusal of a call, or None. A call larger than the limit is admitted while nothing is in flight."""
    if not load.open_characters or load.open_characters + characters <= limit_characters:
        return None
    return Overloaded(
        f"open requests hold {load.open_characters} characters; "
        f"{characters} more exceed the limit of {limit_characters}",
        retry_after_s=load.retry_after_s,
    )


class DrainRate:
    """Characters answered per second of work. Idle time does not count, and old work fades."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s: float | None = None
        self._characters = 0.0
        self._busy_s = 0.0

    @property
    def per_s(self) -> float:
        """0 before anything was measured."""
        return self._characters / self._busy_s if self._busy_s else 0.0

    def busy(self) -> None:
        """Start counting time, unless it is being counted already."""
        if self._since_s is None:
            self._since_s = self._clock()

    def idle(self) -> None:
        """Stop counting time: nothing is in flight."""
        self._since_s = None

    def drained(self, characters: int) -> None:
        """Count a call that was answered."""
        if self._since_s is None:
            return
        now_s = self._clock()
        passed_s = now_s - self._since_s
        kept = math.exp(-passed_s / MEMORY_S)
        self._characters = self._characters * kept + characters
        self._busy_s = self._busy_s * kept + passed_s
        self._since_s = now_s


class InflightLimit:
    """The calls in flight to one model."""

    def __init__(self, limit_characters: int, clock: Callable[[], float]) -> None:
        self._limit_characters = limit_characters
        self._rate = DrainRate(clock)
        self._open_characters = 0

    @property
    def load(self) -> Load:
        """What is in flight now."""
        return Load(self._open_characters, self._rate.per_s)

    async def admit(self, dispatcher: Dispatcher, request: Request[ResultT]) -> Routed[ResultT]:
        """Call the dispatcher; Overloaded where too much is in flight already."""
        characters = request.held_characters
        refused = refusal(self.load, characters, self._limit_characters)
        if refused is not None:
            raise refused
        self._rate.busy()
        self._open_characters += characters
        try:
            routed = await dispatcher.call(request)
            self._rate.drained(characters)
            return routed
        except Overloaded as error:
            # A replica's queue refused it. It knows its own length but not always its speed.
            error.retry_after_s = max(error.retry_after_s, self.load.retry_after_s)
            raise
        finally:
            self._open_characters -= characters
            if not self._open_characters:
                self._rate.idle()


class AdmittingDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` that bounds what is in flight to another one."""

    def __init__(self, inner: Dispatcher, limit_characters: int, clock: Callable[[], float]) -> None:
        """Start with nothing in flight. `limit_characters`: per model; `clock`: monotonic seconds."""
        self._inner = inner
        self._limits: dict[Task, InflightLimit] = {task: InflightLimit(limit_characters, clock) for task in TASKS}

    def load(self, task: Task) -> Load:
        """Return what is in flight to a model now."""
        return self._limits[task].load

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Forward the call; Overloaded where too much is in flight to its model already."""
        return await self._limits[request.task].admit(self._inner, request)
