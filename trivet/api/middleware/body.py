"""Decodes request bodies and bounds their size while they arrive: of each one, and of all together.

A few kilobytes can decode to gigabytes. So a piece is counted and handed on as soon as it is decoded: a body that grows
too large is refused before the rest is decoded.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import Problem, body_too_large, describe

PIECE_BYTES = 256 * 1024
"""Most bytes of one decoded piece."""

_WINDOW_BITS: Mapping[str, int] = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}
_NO_ENCODING = ("", "identity")


class BodyMiddleware:
    """ASGI middleware.

    Decodes gzip and deflate; answers 415 for other encodings and 400 for a damaged body.

    Answers 413 as soon as the declared, received or decoded size of one body exceeds `max_body_bytes`, and 429 as soon
    as the bodies of all requests in flight exceed `max_open_bytes` together. A request that is alone in flight is never
    refused for the second reason.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_open_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_open_bytes = max_open_bytes
        self._open_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request with a `receive` that decodes and counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = stated = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                declared = declared or value
            elif name == b"content-encoding":
                stated = stated or value
        encoding = stated.decode("latin-1").strip().lower()
        if encoding not in _NO_ENCODING and encoding not in _WINDOW_BITS:
            await error_response(_unsupported(encoding), scope["path"])(scope, receive, send)
            return
        message = f"the request body is larger than {self._max_body_bytes} bytes"
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            await error_response(describe(body_too_large(message)), scope["path"])(scope, receive, send)
            return
        if encoding not in _NO_ENCODING:
            receive = _decoded(receive, BodyDecoder(encoding, self._max_body_bytes))
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


def _decoded(receive: Receive, decoder: "BodyDecoder") -> Receive:
    """Make a `receive` that returns the decoded body, piece by piece."""
    pieces: Iterator[bytes] = iter(())
    ended = False

    async def decoded_receive() -> Message:
        nonlocal pieces, ended
        while True:
            piece = next(pieces, None)
            if piece is not None:
                return {"type": "http.request", "body": piece, "more_body": True}
            if ended:
                ended = False  # what follows is the caller's disconnect
                decoder.check_whole()
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await receive()
            if message["type"] != "http.request" or decoder.is_done:
                return message
            pieces = decoder.decode(message.get("body", b""))
            ended = not message.get("more_body", False)

    return decoded_receive


class BodyDecoder:
    """Decodes one body. Raises HTTPException, which every route answers in its dialect."""

    def __init__(self, encoding: str, max_encoded_bytes: int) -> None:
        """Decode `gzip`, `x-gzip` or `deflate`; read at most `max_encoded_bytes`."""
        self._encoding = encoding
        self._stream = self._new_stream()
        self._max_encoded_bytes = max_encoded_bytes
        self._encoded_bytes = 0
        self.is_done = False
        """Whether the whole body was decoded."""

    def _new_stream(self) -> Any:
        return zlib.decompressobj(_WINDOW_BITS[self._encoding])

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk decodes to, in pieces of at most `PIECE_BYTES`."""
        self._encoded_bytes += len(chunk)
        if self._encoded_bytes > self._max_encoded_bytes:
            raise HTTPException(413, f"the {self._encoding} body is larger than {self._max_encoded_bytes} bytes")
        while chunk:
            if self._stream.eof:  # gzip allows several streams one after another
                self._stream = self._new_stream()
            try:
                piece = self._stream.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise HTTPException(400, f"the body is not {self._encoding}, as content-encoding says") from error
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                yield piece
        while not self._stream.eof and (piece := self._stream.decompress(b"", PIECE_BYTES)):
            yield piece  # zlib holds back what did not fit into the last piece

    def check_whole(self) -> None:
        """Refuse a body that ends in the middle."""
        if not self._stream.eof and self._encoded_bytes:
            raise HTTPException(400, f"the {self._encoding} body ends too early")
        self.is_done = True


def _unsupported(encoding: str) -> Problem:
    return Problem(
        415,
        f"the content-encoding {encoding[:80]!r} is not supported; send gzip, deflate, or no content-encoding",
        "invalid_request_error",
        "content-encoding",
        "unsupported_encoding",
    )
