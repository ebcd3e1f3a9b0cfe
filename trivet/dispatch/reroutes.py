"""Remembers which requests left the GPU lane lately, and why. Bounded; the clock is injected."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

KEPT = 50
"""Rows that are remembered."""


@dataclass(frozen=True, slots=True)
class Reroute:
    """Requests of one model that went to the CPU for one reason, moments in Unix time."""

    model: str
    reason: str
    requests: int
    first_at_s: float
    last_at_s: float


class RerouteLog:
    """Under load a decision sends thousands of requests away: those with its reason share one row."""

    def __init__(self, unix_clock: Callable[[], float]) -> None:
        self._clock = unix_clock
        self._rows: deque[Reroute] = deque(maxlen=KEPT)

    def add(self, model: str, reason: str) -> None:
        """Note one request."""
        now_s = self._clock()
        row = next((row for row in reversed(self._rows) if row.model == model), None)
        if row is not None and row.reason == reason:
            self._rows.remove(row)
            self._rows.append(replace(row, requests=row.requests + 1, last_at_s=now_s))
        else:
            self._rows.append(Reroute(model, reason, 1, now_s, now_s))

    def newest_first(self) -> list[Reroute]:
        """All rows."""
        return list(reversed(self._rows))
