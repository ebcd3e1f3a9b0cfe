"""Checks the key of each request and its caller's limits. No key is ever logged.

The processes that serve as one on a machine count a key's requests together.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import Problem
from trivet.api.key_ring import ApiKey, KeySource
from trivet.api.scope import KEY_HEADERS, is_health, is_page
from trivet.dispatch.allowance import Allowance, Limits, Refusal
from trivet.dispatch.caching import begin_caller
from trivet.dispatch.shared_blocks import SharedBlocks

_KEY_HEADERS = frozenset(name.encode() for name in KEY_HEADERS)
"""Azure's clients send the first, several others the second."""


def _too_many(refusal: Refusal) -> Problem:
    return Problem(429, refusal.message, "rate_limit_error", None, "rate_limit_exceeded", refusal.retry_after_s)


def _unauthorized(message: str) -> Problem:
    return Problem(401, message, "authentication_error", None, "invalid_api_key")


class KeyMiddleware:
    """ASGI middleware: 401 without a valid key, 429 over the key's own limits.

    A key comes as `Authorization: Bearer …`, `api-key: …` or `x-api-key: …`.
    """

    def __init__(
        self, app: ASGIApp, *, keys: KeySource, blocks: SharedBlocks, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._keys = keys
        self._blocks = blocks
        self._clock = clock
        self._ring = keys.ring
        self._allowances = self._counted({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or refuse it in the error shape of its path before its body is read."""
        if scope["type"] != "http" or is_health(scope["method"], scope["path"]) or is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        presented = _presented(scope["headers"])
        if presented is None:
            await _refuse(_unauthorized("send a key: `Authorization: Bearer …`"), scope, receive, send)
            return
        key = self._find(presented)
        if key is None:
            await _refuse(_unauthorized("this key is not known here"), scope, receive, send)
            return
        with self._allowances[key].admit() as refusal:
            if refusal is not None:
                await _refuse(_too_many(refusal), scope, receive, send)
            else:
                begin_caller(key.name)
                await self._app(scope, receive, send)

    def _find(self, presented: str) -> ApiKey | None:
        ring = self._keys.ring
        if ring is not self._ring:
            self._ring = ring
            self._allowances = self._counted(self._allowances)
        return ring.find(presented)

    def _counted(self, before: Mapping[ApiKey, Allowance]) -> dict[ApiKey, Allowance]:
        """The allowance of each key; one that stays as it is goes on counting."""
        return {key: before.get(key) or self._allowance(key) for key in self._ring.keys}

    def _allowance(self, key: ApiKey) -> Allowance:
        limits = Limits(key.requests_per_minute, key.concurrent)
        return Allowance(limits, self._clock, self._blocks, key.digest)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    answer = error_response(problem, scope["path"])
    if problem.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    await answer(scope, receive, send)


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key of a request: a bearer's, or the value of a header that other APIs' clients use."""
    other = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and key.strip():
                return key.strip()
        elif name in _KEY_HEADERS:
            other = value.decode("latin-1").strip() or None
    return other
