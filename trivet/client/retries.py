"""Whether a call is tried again, and when. Decides, and keeps no time but the clock's; stamina does the waiting."""

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
    """Pause after the first failure; it doubles with each further one. Up to a quarter of it is added by chance."""
    wait_max_s: float = 10.0
    """Longest of these pauses."""


class Attempts:
    """The attempts of one call: what is left of its time, and whether another one is worth it."""

    def __init__(self, retries: Retries, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._retries = retries
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline_s = clock() + timeout_s
        self._last: ClientError | None = None

    def left_s(self) -> float:
        """Time for the attempt that starts now; TimedOut if there is none."""
        left_s = self._deadline_s - self._clock()
        if left_s > 0:
            return left_s
        reason = "" if self._last is None else f"; at last: {self._last.message}"
        raise TimedOut(f"no answer within {self._timeout_s:g} s{reason}") from self._last

    def wait_after(self, error: Exception) -> bool | float:
        """Stamina's question: False to give up, True for its own pause, or the pause in seconds."""
        if not isinstance(error, Busy | Unreachable):
            return False
        self._last = error
        wait_s = error.retry_after_s if isinstance(error, Busy) else None
        if wait_s is None:
            return True
        return wait_s if wait_s < self._deadline_s - self._clock() else False  # or it would wait in vain

    def policy(self) -> dict[str, Any]:
        """Arguments of `stamina.retry_context`."""
        return {
            "on": self.wait_after,
            "attempts": self._retries.attempts,
            "timeout": None,
            "wait_initial": self._retries.wait_initial_s,
            "wait_max": self._retries.wait_max_s,
            "wait_jitter": self._retries.wait_initial_s / 4,
        }
