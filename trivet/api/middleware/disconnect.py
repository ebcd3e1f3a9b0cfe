"""Cancels a request's task, and with it all that it awaits, when the caller disconnects.

Servers report a disconnect only to an application that receives another message, which a computing one does not do.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

WATCH_AFTER_S = 0.02
"""Requests that are answered sooner are not watched: the task for it costs more than what they could still save."""


class DisconnectMiddleware:
    """ASGI middleware; the outermost, so that all others see the cancellation."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, and cancel it if the caller disconnects."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        caller = _Caller(task, receive, send)
        try:
            await self._app(scope, caller.receive, caller.send)
        except asyncio.CancelledError:
            # The middleware's own cancellation ends here; one from outside goes on, even where both came.
            if not caller.has_left or task.uncancel() > 0:
                raise
        finally:
            caller.forget()


class _Caller:
    """One request's connection. Watched once the body is read, since the next message is the disconnect."""

    def __init__(self, task: "asyncio.Task[None]", receive: Receive, send: Send) -> None:
        self._task = task
        self._receive = receive
        self._send = send
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[Message] | None = None
        self._answered = False
        self.has_left = False
        """Whether this is why the task is cancelled."""

    async def receive(self) -> Message:
        """Receive for the application."""
        if self._timer is not None:
            return await asyncio.shield(self._watched())
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watched)
        return message

    async def send(self, message: Message) -> None:
        """Send for the application."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True  # set before sending: servers report the end of an answer as a disconnect, too
        await self._send(message)

    def forget(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.remove_done_callback(self._ended)
            self._watch.cancel()

    def _watched(self) -> "asyncio.Task[Message]":
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._receive())
            self._watch.add_done_callback(self._ended)
        return self._watch

    def _ended(self, watch: "asyncio.Task[Message]") -> None:
        if watch.cancelled() or watch.exception() is not None or self._answered:
            return
        if watch.result()["type"] == "http.disconnect":
            self.has_left = True
            self._task.cancel()
