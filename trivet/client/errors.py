"""What a call can end in instead of an answer.

    ClientError
    ├── Unreachable        no connection, or one that broke: there may be no server at this address
    ├── TimedOut           the call's time ran out, here or (status 408) at the server
    ├── MalformedAnswer    something answered, but not as Trivet does
    ├── Refused            4xx: the request is wrong; `param` names the field, such as `documents[3]`
    │   └── Denied         401, 403: a key is missing, or is not known there
    ├── Busy               429, 503: come back after `retry_after_s`
    └── ServerFailed       any other status: the server's fault, and asking again will not help

Every one survives pickling, as all of Trivet's errors do.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from trivet.errors import TrivetError

_INDEXED = re.compile(r"(?P<field>.*)\[(?P<index>\d+)\]")
_EXCERPT_CHARACTERS = 200


class ClientError(TrivetError):
    """Base of what a call raises. `status`, `param` and `code` are as the server sent them, or None."""

    def __init__(
        self, message: str, *, status: int | None = None, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def shift(self, start: int) -> None:
        """Name an input by its place among all inputs, where only those from `start` on were sent."""
        match = _INDEXED.fullmatch(self.param or "")
        if match is not None and start:
            named = f"{match['field']}[{start + int(match['index'])}]"
            self.args = (self.message.replace(str(self.param), named, 1),)
            self.param = named


class Unreachable(ClientError):
    """No connection, or one that broke before the whole answer had come."""


class TimedOut(ClientError):
    """No answer within the call's `timeout_s`, attempts and pauses together."""


class MalformedAnswer(ClientError):
    """The answer is not what Trivet sends; the message says where it differs."""


class Refused(ClientError):
    """The request is wrong and would be refused again."""


class Denied(Refused):
    """The server wants a key, or does not know this one."""


class ServerFailed(ClientError):
    """The server met an error of its own."""


class Busy(ClientError):
    """The server cannot take the request now. `retry_after_s`, if it said so, is when it can."""

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
    """The error that an answer with this status stands for, whoever wrote it: Trivet, or a proxy before it."""
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
    """`error` of the native shape, its text fields only; empty where the body is something else."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return {}
    return {name: value for name, value in error.items() if isinstance(value, str)}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds; None without the header, or where it is a date: clocks differ, and Trivet never sends one."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _excerpt(content: bytes) -> str:
    return " ".join(content[:_EXCERPT_CHARACTERS].decode("utf-8", "replace").split())
