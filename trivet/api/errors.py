"""The one place that turns errors into HTTP answers: `{"error": {"message", "type", "param", "code"}}`."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from trivet.api.json_response import json_response
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as every dialect can express it in its own shape."""

    status: int
    message: str
    kind: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where the caller should come back."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(math.ceil(self.retry_after_s))}


def describe(error: TrivetError) -> Problem:
    """Map the error tree to statuses."""
    match error:
        case InvalidInput(code="body_too_large"):
            return Problem(413, error.message, "invalid_request_error", error.param, error.code)
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


def describe_validation(error: RequestValidationError) -> Problem:
    """Name the field of the first complaint, as `documents[3]`; malformed JSON names the body."""
    first = error.errors()[0]
    return Problem(
        400,
        f"{_path(first['loc'])}: {first['msg']}",
        "invalid_request_error",
        _path(first["loc"]),
        str(first["type"]),
    )


def _path(location: Sequence[int | str]) -> str:
    if len(location) > 1 and location[0] == "body" and isinstance(location[1], int):
        return "body"  # a position inside text that is not JSON
    path = ""
    for part in location[1:] if location[0] in ("body", "query", "header") else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "body"


def native_error(problem: Problem) -> Response:
    """The native (OpenAI) shape."""
    body = {
        "error": {
            "message": problem.message,
            "type": problem.kind,
            "param": problem.param,
            "code": problem.code,
        }
    }
    return json_response(body, status=problem.status, headers=problem.headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every kind of failure in the native shape, and log those that are ours."""

    async def on_trivet_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, TrivetError)
        problem = describe(error)
        if problem.status >= 500:
            logger.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
        return native_error(problem)

    async def on_invalid_body(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return native_error(describe_validation(error))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "invalid_request_error" if error.status_code < 500 else "server_error"
        param, code = ("body", "body_too_large") if error.status_code == 413 else (None, None)
        problem = Problem(error.status_code, str(error.detail), kind, param, code)
        answer = native_error(problem)
        answer.headers.update(error.headers or {})
        return answer

    async def on_unexpected(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return native_error(Problem(500, "an internal error; the log has it", "server_error", None, "internal_error"))

    app.add_exception_handler(TrivetError, on_trivet_error)
    app.add_exception_handler(RequestValidationError, on_invalid_body)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_unexpected)
