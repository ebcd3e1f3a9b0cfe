"""Checks the key of each request and its caller's limits. No key is ever logged.

Limits hold per process: each of several ingress replicas counts for itself.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import Problem
from trivet.api.key_ring import ApiKey, KeySource
from trivet.api.scope import is_health, is_page
from trivet.dispatch.caller import begin_caller

_KEY_HEADERS = frozenset({b"api-key", b"x-api-key"})
"""Azure's clients send the first, several others the second."""


class KeyUsage:
    """Counts one key's requests: a token bucket of one minute's allowance, and the requests in flight."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._allowance = float(key.requests_per_minute or 0)
        self._counted_s = clock()
        self._open = 0

    @contextmanager
    def admit(self) -> Iterator[Problem | None]:
        """Count a request while it runs; yields the refusal instead where a limit is reached."""
        problem = self._refusal()
        if problem is not None:
            yield problem
            return
        self._allowance -= 1
        self._open += 1
        try:
            yield None
        finally:
            self._open -= 1

    def _refusal(self) -> Problem | None:
        if self._key.concurrent is not None and self._open >= self._key.concurrent:
            return _too_many(f"{self._open} requests are open already, the most that this key may have", 1.0)
        rate = self._key.requests_per_minute
        if rate is None:
            return None
        now_s = self._clock()
        self._allowance = min(float(rate), self._allowance + (now_s - self._counted_s) * rate / 60)
        self._counted_s = now_s
        if self._allowance >= 1:
            return None
        return _too_many(f"this key may send {rate} requests a minute", (1 - self._allowance) * 60 / rate)


def _too_many(message: str, retry_after_s: float) -> Problem:
    return Problem(429, message, "rate_limit_error", None, "rate_limit_exceeded", retry_after_s)


def _unauthorized(message: str) -> Problem:
    return Problem(401, message, "authentication_error", None, "invalid_api_key")


class KeyMiddleware:
    """ASGI middleware: 401 without a valid key, 429 over the key's own limits.

    A key comes as `Authorization: Bearer …`, `api-key: …` or `x-api-key: …`.
    """

    def __init__(self, app: ASGIApp, *, keys: KeySource, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._keys = keys
        self._clock = clock
        self._ring = keys.ring
        self._usage = self._counted({})

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
        with self._usage[key].admit() as problem:
            if problem is not None:
                await _refuse(problem, scope, receive, send)
            else:
                begin_caller(key.name)
                await self._app(scope, receive, send)

    def _find(self, presented: str) -> ApiKey | None:
        ring = self._keys.ring
        if ring is not self._ring:
            self._ring = ring
            self._usage = self._counted(self._usage)
        return ring.find(presented)

    def _counted(self, before: Mapping[ApiKey, KeyUsage]) -> dict[ApiKey, KeyUsage]:
        """The usage of each key; one that stays as it is goes on counting."""
        return {key: before.get(key) or KeyUsage(key, self._clock) for key in self._ring.keys}


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
