"""Errors of calls.

    ClientError
    ├── Unreachable        no connection, or it broke: there may be no server at this address
    │   └── NotListening   no connection could be made at all
    ├── TimedOut           the deadline passed, in the client or (status 408) in the server
    ├── MalformedAnswer    the answer is not one of a Trivet server
    ├── Refused            4xx: the request is invalid; `param` names the field, such as `documents[3]`
    │   └── Denied         401, 403: the key is missing or unknown
    ├── Busy               429, 503: retry after `retry_after_s`
    └── ServerFailed       any other status: a fault of the server, which a retry will not fix

All of them can be pickled, like all of Trivet's errors.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from trivet.errors import TrivetError

_INDEXED = re.compile(r"(?P<field>.*)\[(?P<index>\d+)\]")
_EXCERPT_CHARACTERS = 200


class ClientError(TrivetError):
    """Base of all errors of calls. `status`, `param` and `code` are those that the server sent, or None."""

    def __init__(
        self, message: str, *, status: int | None = None, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self._is_renumbered = False

    @property
    @override
    def message(self) -> str:
        """The server's message. Where `param` was renumbered it comes first: the server counts within a request."""
        if not self._is_renumbered:
            return super().message
        return f"{self.param}: in its request, {super().message}"

    def renumber(self, start: int) -> None:
        """Let `param` name the input among all inputs, of which the request carried those from `start` on."""
        match = _INDEXED.fullmatch(self.param or "")
        if match is not None and start:
            self._is_renumbered = True
            self.param = f"{match['field']}[{start + int(match['index'])}]"


class Unreachable(ClientError):
    """No connection could be made, or it broke before the answer was complete."""


class NotListening(Unreachable):
    """No connection could be made: nothing listens at this address, or it does not exist.

    It is retried only if the client has had an answer from there before: the service may be restarting.
    """


class TimedOut(ClientError):
    """No answer within the call's `timeout_s`, which includes retries."""


class MalformedAnswer(ClientError):
    """The answer is not one of a Trivet server; the message names the difference."""


class Refused(ClientError):
    """The request is invalid, and a retry would be refused too."""


class Denied(Refused):
    """The server requires a key, or does not know this one."""


class ServerFailed(ClientError):
    """The server failed with an internal error."""


class Busy(ClientError):
    """The server cannot accept the request now. `retry_after_s` is the server's `Retry-After`, if it sent one."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, status=status, param=param, code=code)
        self.retry_after_s = retry_after_s


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> ClientError:
    """Build the error for a response with this status, from Trivet or from a proxy in front of it."""
    detail = _detail(content)
    message = detail.get("message") or f"status {status}: {_excerpt(content) or 'an empty answer'}"
    fields: dict[str, Any] = {"status": status, "param": detail.get("param"), "code": detail.get("code")}
    match status:
        case 401 | 403:
            return Denied(message, **fields)
        case 408:
            return TimedOut(message, **fields)
        case 429 | 503:
            return Busy(message, **fields, retry_after_s=_retry_after_s(headers))
        case _ if 400 <= status < 500:
            return Refused(message, **fields)
        case _:
            return ServerFailed(message, **fields)


def _detail(content: bytes) -> dict[str, str]:
    """Return the text fields of `error` in the native error body; empty for any other body."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return {}
    return {name: value for name, value in error.items() if isinstance(value, str)}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Parse `Retry-After` in seconds. Returns None if it is missing or a date, which Trivet never sends."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _excerpt(content: bytes) -> str:
    return " ".join(content[:_EXCERPT_CHARACTERS].decode("utf-8", "replace").split())
