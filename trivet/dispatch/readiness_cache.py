"""Asks the lanes how they are at most once in a while, however many pages are open."""

import asyncio
from collections.abc import Awaitable, Callable

from trivet.dispatch.protocol import Readiness


class CachedReadiness:
    """Answers at once with the last answer, and renews it in the background when it is old.

    Only the first caller waits. A renewal's error is raised to whoever asks next.
    """

    def __init__(self, ask: Callable[[], Awaitable[Readiness]], clock: Callable[[], float], max_age_s: float) -> None:
        self._ask = ask
        self._clock = clock
        self._max_age_s = max_age_s
        self._asking: asyncio.Task[Readiness] | None = None
        self._latest: Readiness | None = None
        self._asked_s = 0.0

    async def latest(self) -> Readiness:
        """An answer that was at most `max_age_s` old, or being renewed, when it was last asked for."""
        known = self.known()
        if known is not None:
            return known
        assert self._asking is not None
        return await asyncio.shield(self._asking)  # a caller who leaves must not cancel the others' answer

    def known(self) -> Readiness | None:
        """The last answer, None before the first, never waited for. An old one is renewed for whoever asks next."""
        if self._asking is not None and self._asking.done():
            finished, self._asking = self._asking, None
            self._latest = finished.result()
        if self._asking is None and (self._latest is None or self._clock() - self._asked_s >= self._max_age_s):
            self._asked_s = self._clock()
            self._asking = asyncio.create_task(self._renew(), name="readiness")
        return self._latest

    async def _renew(self) -> Readiness:
        return await self._ask()
