"""Renders a `Problem` in each dialect's shape, with the original server's status where clients act on it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, Literal

from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import json_response
from trivet.api.dialect import Dialect, dialect_of, rules_of
from trivet.api.errors.problem import Problem


class ErrorDetail(TypedDict):
    """What went wrong, where, and which kind of error it is."""

    message: str
    type: str
    param: str | None
    code: str | None


class NativeError(TypedDict):
    """OpenAI's shape; infinity uses it too."""

    error: ErrorDetail


class RerankV1Error(TypedDict):
    """The native shape, with the fields that Cohere's (`message`) and Jina's (`detail`) clients show."""

    error: ErrorDetail
    message: str
    detail: str


class CohereError(TypedDict):
    """Cohere's v2."""

    message: str


class VllmErrorDetail(TypedDict):
    """As OpenAI's, with the status as `code` and the class of the exception as `type`."""

    message: str
    type: str
    param: str | None
    code: int


class VllmError(TypedDict):
    """vLLM's."""

    error: VllmErrorDetail


TeiErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


class TeiError(TypedDict):
    """text-embeddings-inference's."""

    error: str
    error_type: TeiErrorType


class OllamaError(TypedDict):
    """Ollama's."""

    error: str


Rendered = tuple[int, Any]
"""Status and body."""


def _native(problem: Problem) -> Rendered:
    return problem.status, NativeError(error=_detail(problem))


def _detail(problem: Problem) -> ErrorDetail:
    return ErrorDetail(message=problem.message, type=problem.kind, param=problem.param, code=problem.code)


def _rerank_v1(problem: Problem) -> Rendered:
    return problem.status, RerankV1Error(error=_detail(problem), message=problem.message, detail=problem.message)


def _cohere_v2(problem: Problem) -> Rendered:
    return problem.status, CohereError(message=problem.message)


_VLLM_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    413: "BadRequestError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


def _vllm(problem: Problem) -> Rendered:
    kind = _VLLM_TYPES.get(problem.status, "InternalServerError" if problem.status >= 500 else "BadRequestError")
    detail = VllmErrorDetail(message=problem.message, type=kind, param=problem.param, code=problem.status)
    return problem.status, VllmError(error=detail)


def _ollama(problem: Problem) -> Rendered:
    return problem.status, OllamaError(error=problem.message)


_EMPTY_CODES = frozenset({"empty", "string_too_short", "too_short"})


def _tei(problem: Problem) -> Rendered:
    status, kind = _tei_kind(problem)
    return status, TeiError(error=problem.message, error_type=kind)


def _tei_kind(problem: Problem) -> tuple[int, TeiErrorType]:
    match problem.status:
        case 400 if problem.code in _EMPTY_CODES:
            return 400, "Empty"
        case 400:
            return 422, "Validation"
        case 429:
            return 429, "Overloaded"
        case 503:
            return 503, "Unhealthy"
        case 408 | 500:
            return 424, "Backend"
        case status:
            return status, "Validation"


@dataclass(frozen=True, slots=True)
class _Shape:
    render: Callable[[Problem], Rendered]
    model: Any


_SHAPES: Mapping[Dialect, _Shape] = {
    "native": _Shape(_native, NativeError),
    "infinity": _Shape(_native, NativeError),
    "ollama": _Shape(_ollama, OllamaError),
    "rerank_v1": _Shape(_rerank_v1, RerankV1Error),
    "cohere_v2": _Shape(_cohere_v2, CohereError),
    "vllm": _Shape(_vllm, VllmError),
    "tei": _Shape(_tei, TeiError),
}


def error_response(problem: Problem, path: str, fields: Iterable[str] = ()) -> Response:
    """Render the problem in the dialect of this path and these fields."""
    status, body = _SHAPES[dialect_of(path, fields)].render(_writable(problem))
    return json_response(body, status=status, headers=problem.headers)


def error_body(problem: Problem) -> NativeError:
    """Render the problem in the native shape, for a line of a stream."""
    return NativeError(error=_detail(_writable(problem)))


def _writable(problem: Problem) -> Problem:
    """Write half surrogates, which JSON bodies may contain and UTF-8 may not, as escapes: messages repeat names."""
    param = None if problem.param is None else _escaped(problem.param)
    return replace(problem, message=_escaped(problem.message), param=param)


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def documented_errors(path: str) -> dict[int | str, dict[str, Any]]:
    """Make the `responses` of a route: every error shape of its path."""
    dialects = dict.fromkeys(rule.dialect for rule in rules_of(path)) or {"native": None}
    model = reduce(or_, dict.fromkeys(_SHAPES[dialect].model for dialect in dialects))
    return {
        # Serve's proxy has the same timeout as the ingress; if the proxy times out first, its 408 is plain text.
        "408": {"model": model, "content": {"text/plain": {}}, "description": "No answer in x-request-timeout-seconds"},
        "4XX": {"model": model, "description": "The request is wrong, too large, or not allowed"},
        "5XX": {"model": model, "description": "The service cannot answer now"},
    }
