"""Asks the lanes for their health at most once per interval, however many pages are open."""

import asyncio
from collections.abc import Awaitable, Callable

from trivet.dispatch.protocol import Readiness


class CachedReadiness:
    """Returns the last answer at once, and renews an old one in the background.

    Only the first caller waits. The next caller gets a renewal's error.
    """

    def __init__(self, ask: Callable[[], Awaitable[Readiness]], clock: Callable[[], float], max_age_s: float) -> None:
        self._ask = ask
        self._clock = clock
        self._max_age_s = max_age_s
        self._asking: asyncio.Task[Readiness] | None = None
        self._latest: Readiness | None = None
        self._asked_s = 0.0

    async def latest(self) -> Readiness:
        """Return the last answer; wait only for the first. An answer older than `max_age_s` is renewed meanwhile."""
        known = self.known()
        if known is not None:
            return known
        assert self._asking is not None
        return await asyncio.shield(self._asking)  # one caller's cancellation must not cancel the others' answer

    def known(self) -> Readiness | None:
        """Return the last answer without waiting; None before the first. An old one is renewed for the next caller."""
        if self._asking is not None and self._asking.done():
            finished, self._asking = self._asking, None
            self._latest = finished.result()
        if self._asking is None and (self._latest is None or self._clock() - self._asked_s >= self._max_age_s):
            self._asked_s = self._clock()
            self._asking = asyncio.create_task(self._renew(), name="readiness")
        return self._latest

    async def _renew(self) -> Readiness:
        return await self._ask()
