"""Bounds what callers hold who do not read their answers.

A server waits for the caller before it takes more of an answer. So a caller who reads nothing keeps the answer in
memory, and a stream that is still being computed keeps its place. Here such an answer ends when its caller has taken
nothing for a while, or when the unread parts of all answers take too much memory: then the caller who has waited the
longest is cut off. Small whole answers are passed on as they are; the server has room for them.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.scope import ERROR
from trivet.metrics import UNREAD_ANSWERS, MetricsSink

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 * 1024
"""Most bytes that are sent at a time. A server holds about as many before it waits for the caller."""
STALLED = "unread"
"""What the log line of the request has as its error."""
PATIENCE_S = 1.0
"""A caller who has waited for less is never cut off for the memory."""


class _Stalled(Exception):
    """Raised by `send`: nobody reads this answer."""


@dataclass(slots=True, eq=False)
class _Unread:
    """An answer that is being sent."""

    size_bytes: int
    """What is left of the body that is being sent."""
    since_s: float
    """When the caller last took something."""
    wait: asyncio.Timeout
    limit: str = "time"
    """Which limit ends it, if one does."""


class ReadingMiddleware:
    """ASGI middleware.

    Ends an answer of which the caller takes nothing for `most_idle_s`. If the unread parts of all answers exceed
    `max_unread_bytes`, the one whose caller has waited longest ends. The connection closes, since the rest is missing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most_idle_s: float,
        max_unread_bytes: int,
        sink: MetricsSink,
        clock: Callable[[], float],
    ) -> None:
        self._app = app
        self._most_idle_s = most_idle_s
        self._max_unread_bytes = max_unread_bytes
        self._sink = sink
        self._clock = clock
        self._unread: list[_Unread] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request with a `send` that does not wait indefinitely."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ended: _Unread | None = None
        is_stream = False

        async def bounded_send(message: Message) -> None:
            nonlocal ended, is_stream
            body = message.get("body", b"")
            is_stream = is_stream or message.get("more_body", False)
            if len(body) <= PIECE_BYTES and not is_stream:
                await send(message)
                return
            ended = await self._send(message, body, send)
            if ended is not None:
                raise _Stalled

        try:
            await self._app(scope, receive, bounded_send)
        except _Stalled:
            assert ended is not None
            scope[ERROR] = STALLED
            self._sink.count(UNREAD_ANSWERS, {"limit": ended.limit})
            logger.warning(
                "an answer was ended: its caller took nothing for %.1f s (limits.%s)",
                self._clock() - ended.since_s,
                "max_open_bodies" if ended.limit == "memory" else "unread_timeout_s",
            )

    async def _send(self, message: Message, body: bytes, send: Send) -> _Unread | None:
        """Send a message piece by piece; return what is unread if it had to end."""
        more_body = message.get("more_body", False)
        start = 0
        unread = _Unread(len(body), self._clock(), asyncio.timeout(None))
        self._unread.append(unread)
        self._make_room()
        try:
            while True:
                stop = start + PIECE_BYTES
                unread.wait = asyncio.timeout(self._most_idle_s)
                async with unread.wait:
                    await send({**message, "body": body[start:stop], "more_body": more_body or stop < len(body)})
                unread.since_s = self._clock()
                unread.size_bytes = max(0, len(body) - stop)
                start = stop
                if start >= len(body):
                    return None
        except TimeoutError:
            if not unread.wait.expired():
                raise
            return unread
        finally:
            self._unread.remove(unread)

    def _make_room(self) -> None:
        """End the answers whose callers have waited longest, until the others fit."""
        unread_bytes = sum(one.size_bytes for one in self._unread)
        latest_s = self._clock() - PATIENCE_S
        for one in sorted(self._unread, key=lambda one: one.since_s):
            if unread_bytes <= self._max_unread_bytes or one.since_s > latest_s:
                return
            if not one.wait.expired() and one.limit == "time":
                unread_bytes -= one.size_bytes
                one.limit = "memory"
                one.wait.reschedule(asyncio.get_running_loop().time())
