"""Converts between calls and httpx, for both clients. Performs no I/O."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from trivet.client.calls import AnswerT, Call, Priority
from trivet.client.errors import ClientError, MalformedAnswer, NotListening, TimedOut, Unreachable, error_of
from trivet.client.retries import Attempts, Contact, Retries

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "TRIVET_URL"
KEY_VARIABLE = "TRIVET_API_KEY"

LONGEST_TIMEOUT_S = 86400.0
"""The longest deadline that the server accepts."""
_CONNECT_TIMEOUT_S = 5.0
_GRACE_S = 2.0
"""Extra time in which the server's own time-out error can arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The server's address, and the defaults of a client's calls."""

    url: str
    key: str | None
    timeout_s: float
    priority: Priority
    retries: Retries
    contact: Contact = field(default_factory=Contact)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{self.url!r} is not a URL such as {DEFAULT_URL}")
        try:
            port = httpx.URL(self.url).port
        except httpx.InvalidURL as error:
            raise ValueError(f"{self.url!r} is not a URL such as {DEFAULT_URL}: {error}") from error
        if port is not None and not 1 <= port <= 65535:
            raise ValueError(f"{self.url!r} is not a URL such as {DEFAULT_URL}: there is no port {port}")
        if self.key and not (self.key.isascii() and self.key.isprintable()):
            raise ValueError("the key has characters that no key has, such as a line end or a letter outside of ASCII")
        _check_timeout(self.timeout_s)

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"  # never the key

    def http_options(self) -> dict[str, Any]:
        """Return the arguments of httpx's clients."""
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "trivet-client"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        # A proxy in the environment cannot reach this machine's loopback, and must not be sent the key and the texts.
        host = httpx.URL(self.url).host
        direct = {f"all://[{host}]" if ":" in host else f"all://{host}": None} if _is_loopback(host) else {}
        return {"base_url": self.url, "headers": headers, "mounts": direct}

    def attempts(self, call: Call[AnswerT]) -> Attempts:
        """Start the attempts of a call; its deadline counts from now."""
        timeout_s = self.timeout_s if call.timeout_s is None else call.timeout_s
        _check_timeout(timeout_s)
        return Attempts(self.retries, timeout_s, contact=self.contact)

    def note_answer(self, response: httpx.Response) -> None:
        """Note that the server answers; a hook of httpx's client."""
        self.contact.answered = True

    async def note_answer_async(self, response: httpx.Response) -> None:
        """Do the same as `note_answer`, for httpx's asynchronous client."""
        self.contact.answered = True

    def request_options(self, call: Call[AnswerT], content: bytes, left_s: float) -> dict[str, Any]:
        """Return the arguments of httpx's `request` for one attempt."""
        return {
            "method": call.method,
            "url": call.path,
            "content": content or None,
            "headers": {
                "x-request-timeout-seconds": f"{max(0.001, left_s):.3f}",
                "x-trivet-priority": call.priority or self.priority,
            },
            "timeout": httpx.Timeout(left_s + _GRACE_S, connect=min(_CONNECT_TIMEOUT_S, left_s)),
        }


def connection(
    url: str | None,
    key: str | None,
    *,
    timeout_s: float,
    priority: Priority,
    retries: Retries,
    environment: Mapping[str, str] = os.environ,
) -> Connection:
    """Fill in defaults: `TRIVET_URL`, else port 8000 of this machine; `TRIVET_API_KEY`, else no key."""
    return Connection(
        url=url or environment.get(URL_VARIABLE) or DEFAULT_URL,
        key=key or environment.get(KEY_VARIABLE) or None,
        timeout_s=timeout_s,
        priority=priority,
        retries=retries,
    )


@contextmanager
def translated_errors(url: str, timeout_s: float) -> Iterator[None]:
    """Raise this package's errors instead of httpx's."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise Unreachable(f"{url} does not answer: the connection timed out") from error
    except httpx.ConnectError as error:
        raise NotListening(f"nothing answers at {url} ({error}): {_remedy(url)}") from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"no answer within {timeout_s:g} s") from error
    except httpx.TransportError as error:
        raise Unreachable(f"{url} does not answer: {error or type(error).__name__}") from error
    except httpx.DecodingError as error:
        raise MalformedAnswer(f"the answer cannot be decoded: {error}") from error


def answer_in(call: Call[AnswerT], response: httpx.Response) -> AnswerT:
    """Return the answer in a response, or raise its error."""
    if response.status_code == HTTPStatus.OK:
        return call.read(response.content, response.headers)
    if response.status_code in call.answers_also_at:
        with suppress(MalformedAnswer):
            return call.read(response.content, response.headers)
    raise error_in(call, response)


def error_in(call: Call[AnswerT], response: httpx.Response) -> ClientError:
    """Return the error in a response, whose body has been read."""
    error = error_of(response.status_code, response.headers, response.content)
    error.renumber(call.start)
    return error


def _remedy(url: str) -> str:
    if _is_loopback(httpx.URL(url).host):
        return f"start the service with `trivet serve`, or give another address in {URL_VARIABLE}"
    return f"check the address, which {URL_VARIABLE} can set, and that the service runs there"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_timeout(timeout_s: float) -> None:
    if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise ValueError(f"timeout_s is {timeout_s:g}; it must be above 0 and at most {LONGEST_TIMEOUT_S:g}")
