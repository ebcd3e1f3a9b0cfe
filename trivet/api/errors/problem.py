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
from trivet.wording import field_and_sentence


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
    """Name the field of the first error, as `documents[3]`, and say what to send; malformed JSON names the body."""
    first = error.errors()[0]
    kind = str(first["type"])
    field, sentence = field_and_sentence(kind, _as_sent(first["loc"]), first.get("ctx", {}), first["msg"], whole="body")
    return Problem(400, sentence, "invalid_request_error", field, kind)


def _as_sent(location: Sequence[int | str]) -> list[int | str]:
    """Return where a value is within what the caller sent."""
    inside = location[1:] if location[0] in ("body", "query", "header", "path") else location
    # The tag of a union's member is part of the location, and no caller sends it.
    return [part for part in inside if not (isinstance(part, str) and part.startswith(TAG_PREFIX))]
