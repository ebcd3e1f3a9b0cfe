"""Decodes compressed request bodies while they arrive, in pieces of bounded size.

A few kilobytes can decode to gigabytes. So a piece is handed on as soon as it is decoded, and the middleware below
(`BodyLimitMiddleware`) counts decoded bytes: a body that grows too large is refused before the rest is decoded.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import Problem

PIECE_BYTES = 256 * 1024
"""Most bytes of one decoded piece."""

_WINDOW_BITS: Mapping[str, int] = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}


class ContentEncodingMiddleware:
    """ASGI middleware: decodes gzip and deflate; 415 for other encodings, 400 for a damaged body."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        """Read at most `max_body_bytes` of an encoded body."""
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request with a `receive` that decodes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = next((value for name, value in scope["headers"] if name == b"content-encoding"), b"")
        encoding = stated.decode("latin-1").strip().lower()
        if encoding in ("", "identity"):
            await self._app(scope, receive, send)
            return
        window_bits = _WINDOW_BITS.get(encoding)
        if window_bits is None:
            await error_response(_unsupported(encoding), scope["path"])(scope, receive, send)
            return
        decoder = BodyDecoder(encoding, lambda: zlib.decompressobj(window_bits), self._max_body_bytes)
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

        await self._app(scope, decoded_receive, send)


class BodyDecoder:
    """Decodes one body. Raises HTTPException, which every route answers in its dialect."""

    def __init__(self, encoding: str, make: Callable[[], Any], max_encoded_bytes: int) -> None:
        self._encoding = encoding
        self._make = make
        self._stream = make()
        self._max_encoded_bytes = max_encoded_bytes
        self._encoded_bytes = 0
        self.is_done = False
        """Whether the whole body was decoded."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk decodes to, in pieces of at most `PIECE_BYTES`."""
        self._encoded_bytes += len(chunk)
        if self._encoded_bytes > self._max_encoded_bytes:
            raise HTTPException(413, f"the {self._encoding} body is larger than {self._max_encoded_bytes} bytes")
        while chunk:
            if self._stream.eof:  # gzip allows several streams one after another
                self._stream = self._make()
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
