"""Optional bearer keys: who may call, and how much. Only hashes are kept, and no key is ever logged.

A key file (or the environment variable `TRIVET_API_KEYS`, same format) has one key a line:

    NAME sha256:HEXDIGEST [requests_per_minute=N] [concurrent=N]

A plain SHA-256 is enough because keys are 256 random bits (`new_key`): there is nothing to guess, so there is
nothing for a salt or a slow hash to slow down. Passwords of people do not belong here.

Limits hold per process: each of several ingress replicas counts for itself.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from starlette.types import ASGIApp, Receive, Scope, Send

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import Problem
from trivet.api.routes.ui import is_page
from trivet.errors import ConfigError

ENVIRONMENT_VARIABLE = "TRIVET_API_KEYS"
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/health"})
"""Answered without a key, for those who only watch."""

_LINE = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-fA-F]{64})(?P<limits>(\s+\w+=[1-9][0-9]*)*)")
_LIMITS = ("requests_per_minute", "concurrent")


def new_key() -> str:
    """A fresh key, to be shown once to the person who will use it."""
    return f"tvt_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """What a key file keeps of a key: `sha256:…`."""
    return f"sha256:{_digest(key).hex()}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One caller. None for a limit means there is none."""

    name: str
    digest: bytes = field(repr=False)
    requests_per_minute: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys."""

    keys: tuple[ApiKey, ...]

    @classmethod
    def parse(cls, text: str, *, origin: str) -> Self:
        """Read the format of the module's docstring; ConfigError names `origin` and the line, never its content."""
        keys: list[ApiKey] = []
        for number, line in enumerate(text.splitlines(), start=1):
            line = line.partition("#")[0].strip()
            if line:
                keys.append(_parse_line(line, f"{origin}, line {number}"))
        names = [key.name for key in keys]
        if not keys or len(set(names)) != len(names):
            raise ConfigError(f"{origin} must hold at least one key, and no name twice")
        return cls(tuple(keys))

    @classmethod
    def load(cls, file: Path | None, environment: Mapping[str, str]) -> Self | None:
        """From the file if there is one, else from the environment; None if neither gives keys."""
        if file is not None:
            try:
                text = file.read_text()
            except OSError as error:
                raise ConfigError(f"the key file cannot be read: {error}") from error
            return cls.parse(text, origin=str(file))
        listed = environment.get(ENVIRONMENT_VARIABLE)
        return cls.parse(listed, origin=ENVIRONMENT_VARIABLE) if listed else None

    def find(self, presented: str) -> ApiKey | None:
        """The key's owner. Takes as long for a wrong key as for any right one."""
        digest = _digest(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _parse_line(line: str, where: str) -> ApiKey:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ConfigError(f"{where}: expected `NAME sha256:HEXDIGEST [{'=N] ['.join(_LIMITS)}=N]`")
    limits = dict(pair.split("=") for pair in match["limits"].split())
    if unknown := set(limits) - set(_LIMITS):
        raise ConfigError(f"{where}: unknown limit {', '.join(sorted(unknown))}; there are {', '.join(_LIMITS)}")
    return ApiKey(match["name"], bytes.fromhex(match["digest"]), **{name: int(n) for name, n in limits.items()})


class KeyUsage:
    """Counts one key's requests: a bucket of one minute's allowance that refills steadily, and those open now."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._allowance = float(key.requests_per_minute or 0)
        self._counted_s = clock()
        self._open = 0

    @contextmanager
    def admit(self) -> Iterator[Problem | None]:
        """Count a request in and, afterwards, out; yields the refusal instead where a limit is reached."""
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
    """ASGI middleware: 401 without a valid `Authorization: Bearer …`, 429 over the key's own limits."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._keys = keys
        self._usage = {key.name: KeyUsage(key, clock) for key in keys.keys}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer in the shape of its path; its body has not been read yet."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        presented = _bearer(scope["headers"])
        if presented is None:
            await _refuse(_unauthorized("send a key: `Authorization: Bearer …`"), scope, receive, send)
            return
        key = self._keys.find(presented)
        if key is None:
            await _refuse(_unauthorized("this key is not known here"), scope, receive, send)
            return
        with self._usage[key.name].admit() as problem:
            if problem is not None:
                await _refuse(problem, scope, receive, send)
            else:
                await self._app(scope, receive, send)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    answer = error_response(problem, scope["path"])
    if problem.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    await answer(scope, receive, send)


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            return key.strip() if scheme.lower() == "bearer" and key.strip() else None
    return None
