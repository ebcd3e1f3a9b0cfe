"""Refuses request bodies over a size, while they arrive: the rest is never held in memory."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.dialects.error_shapes import error_response
from trivet.api.errors import body_too_large, describe


class BodyLimitMiddleware:
    """ASGI middleware; answers 413 as soon as the declared or received size passes the limit."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application behind a counting `receive`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"the request body is larger than {self._max_body_bytes} bytes"
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            problem = describe(body_too_large(message))
            await error_response(problem, scope["path"])(scope, receive, send)
            return
        received_bytes = 0

        async def counted_receive() -> Message:
            nonlocal received_bytes
            event = await receive()
            received_bytes += len(event.get("body", b""))
            if received_bytes > self._max_body_bytes:
                # The one kind of exception that FastAPI lets pass while it reads a body.
                raise HTTPException(413, message)
            return event

        await self._app(scope, counted_receive, send)
