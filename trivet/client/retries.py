"""Decides whether and when to retry a call. Only reads a clock; stamina waits."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trivet.client.errors import Busy, ClientError, NotListening, TimedOut, Unreachable


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after which pauses, a call is retried. No call has side effects, so every call can be repeated.

    A `Retry-After` of a busy server takes precedence. The pauses below apply if it sends none, and to lost connections.
    """

    attempts: int = 6
    """Maximum attempts of one call, including the first."""
    wait_initial_s: float = 0.2
    """Pause after the first failure, which doubles with each further failure. A random jitter of up to a quarter of
    this value is added to each pause."""
    wait_max_s: float = 10.0
    """Maximum pause."""


@dataclass(slots=True)
class Contact:
    """Whether a client's server has ever answered it, with whatever status."""

    answered: bool = False


class Attempts:
    """The attempts of one call: the time left, and whether to make another attempt."""

    def __init__(
        self,
        retries: Retries,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        contact: Contact | None = None,
    ) -> None:
        self._retries = retries
        self._contact = contact or Contact()
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline_s = clock() + timeout_s
        self._pause_s = retries.wait_initial_s
        self._last: ClientError | None = None

    def left_s(self) -> float:
        """Return the seconds left for an attempt that starts now. Raises TimedOut if the deadline has passed."""
        left_s = self._deadline_s - self._clock()
        if left_s > 0:
            return left_s
        reason = "" if self._last is None else f"; last error: {self._last.message}"
        raise TimedOut(f"no answer within {self._timeout_s:g} s{reason}") from self._last

    def wait_after(self, error: Exception) -> bool | float:
        """Return the pause in seconds before a retry, or False to give up; this is stamina's hook.

        Also returns False if the pause would end after the deadline.
        """
        if not isinstance(error, Busy | Unreachable):
            return False
        if isinstance(error, NotListening) and not self._contact.answered:
            return False
        self._last = error
        default_s = self._next_pause_s()
        retry_after_s = error.retry_after_s if isinstance(error, Busy) else None
        wait_s = default_s if retry_after_s is None else retry_after_s
        return wait_s if wait_s < self._deadline_s - self._clock() else False

    def policy(self) -> dict[str, Any]:
        """Return the arguments of `stamina.retry_context`; `wait_after` sets every pause, so that deadlines hold."""
        return {
            "on": self.wait_after,
            "attempts": self._retries.attempts,
            "timeout": None,
        }

    def _next_pause_s(self) -> float:
        """Return the pause for a server that sends no `Retry-After`, and double the next one."""
        pause_s = self._pause_s + random.uniform(0, self._retries.wait_initial_s / 4)
        self._pause_s = min(2 * self._pause_s, self._retries.wait_max_s)
        return min(pause_s, self._retries.wait_max_s)
