"""Whether a call is tried again, and when. Decides, and keeps no time but the clock's; stamina does the waiting."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trivet.client.errors import Busy, ClientError, TimedOut, Unreachable


@dataclass(frozen=True, slots=True)
class Retries:
    """How stubborn a client is. All calls compute and change nothing, so each may be sent again.

    A busy server's own `Retry-After` is kept to; the waits here are for when it gives none, and for lost connections.
    """

    attempts: int = 6
    """Most attempts of one call, the first included."""
    wait_initial_s: float = 0.2
    """Pause after the first failure; it doubles with each further one. Up to a quarter of the first is added to each by
    chance."""
    wait_max_s: float = 10.0
    """Longest of these pauses."""


class Attempts:
    """The attempts of one call: what is left of its time, and whether another one is worth it."""

    def __init__(self, retries: Retries, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._retries = retries
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline_s = clock() + timeout_s
        self._pause_s = retries.wait_initial_s
        self._last: ClientError | None = None

    def left_s(self) -> float:
        """Time for the attempt that starts now; TimedOut if there is none."""
        left_s = self._deadline_s - self._clock()
        if left_s > 0:
            return left_s
        reason = "" if self._last is None else f"; at last: {self._last.message}"
        raise TimedOut(f"no answer within {self._timeout_s:g} s{reason}") from self._last

    def wait_after(self, error: Exception) -> bool | float:
        """Stamina's question: the pause in seconds, or False to give up, also where it would last past the deadline."""
        if not isinstance(error, Busy | Unreachable):
            return False
        self._last = error
        own_s = self._next_pause_s()
        told_s = error.retry_after_s if isinstance(error, Busy) else None
        wait_s = own_s if told_s is None else told_s
        return wait_s if wait_s < self._deadline_s - self._clock() else False  # or it would wait in vain

    def policy(self) -> dict[str, Any]:
        """Arguments of `stamina.retry_context`. Its own pauses know of no deadline, so `wait_after` names every one."""
        return {
            "on": self.wait_after,
            "attempts": self._retries.attempts,
            "timeout": None,
        }

    def _next_pause_s(self) -> float:
        """The pause for where the server names none; each is twice the one before."""
        pause_s = self._pause_s + random.uniform(0, self._retries.wait_initial_s / 4)
        self._pause_s = min(2 * self._pause_s, self._retries.wait_max_s)
        return min(pause_s, self._retries.wait_max_s)
