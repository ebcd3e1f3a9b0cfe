"""Maps errors to their HTTP meaning. `trivet.api.errors.bodies` renders it in each dialect's shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from trivet.api.dialect import TAG_PREFIX
from trivet.errors import (
    DeadlineExceeded,
    EngineError,
    GpuUnavailable,
    InvalidInput,
    ModelError,
    Overloaded,
    TrivetError,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, independent of the dialect."""

    status: int
    message: str
    kind: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where a retry can succeed."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(math.ceil(self.retry_after_s))}


def describe(error: TrivetError) -> Problem:
    """Map the error tree to statuses."""
    match error:
        case InvalidInput(code="body_too_large"):
            return Problem(413, error.message, "invalid_request_error", error.param, error.code)
        case InvalidInput(code="model_not_found"):
            return Problem(404, error.message, "invalid_request_error", error.param, error.code)
        case InvalidInput():
            return Problem(400, error.message, "invalid_request_error", error.param, error.code)
        case Overloaded():
            return Problem(429, error.message, "overloaded_error", None, "overloaded", error.retry_after_s)
        case DeadlineExceeded():
            return Problem(408, error.message, "timeout_error", None, "deadline_exceeded")
        case Unavailable():
            return Problem(503, error.message, "unavailable_error", None, "unavailable", error.retry_after_s)
        case GpuUnavailable():
            return Problem(503, error.message, "unavailable_error", None, "gpu_unavailable", 1.0)
        case EngineError() | ModelError() | _:
            return Problem(500, error.message, "server_error", None, "internal_error")


def describe_any(error: Exception) -> Problem:
    """Map any exception; the text of an unexpected one stays in the log."""
    match error:
        case TrivetError():
            return describe(error)
        case RequestValidationError():
            return describe_validation(error)
        case HTTPException(status_code=413):
            return describe(body_too_large(str(error.detail)))
        case HTTPException(status_code=429):
            return describe(Overloaded(str(error.detail), retry_after_s=1.0))
        case HTTPException():
            kind = "invalid_request_error" if error.status_code < 500 else "server_error"
            return Problem(error.status_code, str(error.detail), kind)
        case _:
            return Problem(500, "an internal error; the log has it", "server_error", None, "internal_error")


def body_too_large(message: str) -> InvalidInput:
    """Make the error of a body over the limit."""
    return InvalidInput(message, field="body", code="body_too_large")


def describe_validation(error: RequestValidationError) -> Problem:
    """Name the field of the first error, as `documents[3]`; malformed JSON names the body."""
    first = error.errors()[0]
    return Problem(
        400,
        f"{_path(first['loc'])}: {first['msg']}",
        "invalid_request_error",
        _path(first["loc"]),
        str(first["type"]),
    )


_LONGEST_PATH = 200
"""A caller's own labels and fields are part of it, and may be as long as a body."""


def _path(location: Sequence[int | str]) -> str:
    if len(location) > 1 and location[0] == "body" and isinstance(location[1], int):
        return "body"  # the rest is a position inside text that is not JSON
    path = ""
    for part in location[1:] if location[0] in ("body", "query", "header", "path") else location:
        if isinstance(part, str) and part.startswith(TAG_PREFIX):
            continue  # the tag of a union's member, which no caller sends
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path[:_LONGEST_PATH] or "body"
