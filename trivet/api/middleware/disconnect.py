"""A caller who goes away takes the work along: the request's task is cancelled, and with it all that it awaits.

Servers only mention it, to applications that ask for another message; an application that computes does not ask.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class DisconnectMiddleware:
    """ASGI middleware; the outermost, so that all others see the cancellation."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer while somebody listens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        caller = _Caller(task, receive, send)
        try:
            await self._app(scope, caller.receive, caller.send)
        except asyncio.CancelledError:
            # Ours ends here; one from outside goes on, even where both came.
            if not caller.has_left or task.uncancel() > 0:
                raise
        finally:
            caller.forget()


class _Caller:
    """One request's connection. Watched from when the body is read, since what follows it is the end."""

    def __init__(self, task: "asyncio.Task[None]", receive: Receive, send: Send) -> None:
        self._task = task
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[Message] | None = None
        self._answered = False
        self.has_left = False
        """Whether this is why the task is cancelled."""

    async def receive(self) -> Message:
        """The application's `receive`."""
        if self._watch is not None:
            return await asyncio.shield(self._watch)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._watch = asyncio.ensure_future(self._receive())
            self._watch.add_done_callback(self._ended)
        return message

    async def send(self, message: Message) -> None:
        """The application's `send`."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True  # before it is out: servers report the end of an answer as a disconnect, too
        await self._send(message)

    def forget(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.remove_done_callback(self._ended)
            self._watch.cancel()

    def _ended(self, watch: "asyncio.Task[Message]") -> None:
        if watch.cancelled() or watch.exception() is not None or self._answered:
            return
        if watch.result()["type"] == "http.disconnect":
            self.has_left = True
            self._task.cancel()
