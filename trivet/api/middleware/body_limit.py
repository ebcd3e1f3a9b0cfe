"""Bounds the size of each request body and of all bodies together, while they arrive."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import body_too_large, describe

_MOST_DIGITS = 19
"""Of a declared length; Python refuses to read a number of thousands of digits."""


class BodyLimitMiddleware:
    """ASGI middleware.

    Answers 413 as soon as the declared or received size of one body exceeds `max_body_bytes`, and 429 as soon as the
    bodies of all requests in flight exceed `max_open_bytes` together. A request that is alone in flight is never
    refused for the second reason.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_open_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_open_bytes = max_open_bytes
        self._open_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request with a `receive` that counts bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"the request body is larger than {self._max_body_bytes} bytes"
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and (len(declared) > _MOST_DIGITS or int(declared) > self._max_body_bytes):
            problem = describe(body_too_large(message))
            await error_response(problem, scope["path"])(scope, receive, send)
            return
        received_bytes = 0

        # HTTPException is the one kind that FastAPI lets pass while it reads a body.
        async def counted_receive() -> Message:
            nonlocal received_bytes
            event = await receive()
            size_bytes = len(event.get("body", b""))
            received_bytes += size_bytes
            self._open_bytes += size_bytes
            if received_bytes > self._max_body_bytes:
                raise HTTPException(413, message)
            if self._open_bytes > max(self._max_open_bytes, received_bytes):
                raise HTTPException(429, f"open requests hold more than {self._max_open_bytes} bytes of bodies")
            return event

        try:
            await self._app(scope, counted_receive, send)
        finally:
            self._open_bytes -= received_bytes
