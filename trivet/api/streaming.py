"""Answers as lines of JSON (`application/x-ndjson`), sent while the rest is still being computed.

    {"object": "embedding", …}                          results, a batch at a time, as batches finish
    {"object": "progress", "done": 32, "total": 96, …}  after each batch
    {"object": "error", "error": {…}}                   if a batch failed: the others are cancelled
    {"object": "end", "complete": true, "usage": {…}}   always the last line

A failure before the first line is an ordinary HTTP error. A caller's disconnect cancels its open work.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict, override

from trivet.api.answers import TokenUsage, route_headers, token_usage
from trivet.api.errors.bodies import ErrorDetail, error_body
from trivet.api.errors.problem import describe_any
from trivet.api.options import LINES_MEDIA_TYPE
from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Routed
from trivet.errors import DeadlineExceeded, TrivetError
from trivet.json_lines import one_line
from trivet.messages import EngineResult

T = TypeVar("T")


class LinesResponse(StreamingResponse):
    """A stream of lines. If it ends early, so does what makes the lines, without waiting for the garbage collector.

    `on_end` is called once, also where the caller leaves before the first line.
    """

    def __init__(
        self,
        lines: AsyncGenerator[bytes, None],
        headers: Mapping[str, str] | None = None,
        *,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(lines, headers=headers, media_type=LINES_MEDIA_TYPE)
        self._lines = lines
        self._on_end = on_end

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()

    @override
    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._lines):
            await super().stream_response(send)


class ProgressLine(TypedDict):
    """The progress of the request, and where its last batch ran."""

    object: Literal["progress"]
    done: int
    total: int
    device: str
    reroute_reason: str | None


class ErrorLine(TypedDict):
    """Why the stream ends early, in the native shape."""

    object: Literal["error"]
    error: ErrorDetail


class EndLine(TypedDict):
    """The last line, which routes extend. `complete` says whether every input was answered."""

    object: Literal["end"]
    complete: bool
    done: int
    total: int
    usage: TokenUsage


def documented_lines(results: str) -> dict[str, Any]:
    """Return the part of a route's `responses` that documents its stream; docs/api.md describes the lines."""
    description = (
        f"{results.capitalize()}, or with `Accept: {LINES_MEDIA_TYPE}` a stream of JSON lines: results, progress, end"
    )
    return {"content": {LINES_MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": description}


@dataclass(frozen=True, slots=True)
class Part:
    """The results of one batch of inputs."""

    lines: Sequence[Mapping[str, Any]]
    inputs: int
    calls: Sequence[Routed[EngineResult]]
    """The calls that found them; none where no model was needed."""


@dataclass(slots=True)
class Plan:
    """A request cut into batches. `ending` gives the route's part of the last line."""

    batches: Sequence[Callable[[], Awaitable[Part]]]
    total: int
    calls_before: list[Routed[EngineResult]] = field(default_factory=list)
    """Calls made before the first batch; their tokens count too."""
    ending: Callable[[], Mapping[str, Any]] = dict


def batches_of(items: Sequence[T], size: int) -> list[tuple[int, Sequence[T]]]:
    """Cut items into (position of the first, items), `size` at a time."""
    return [(start, items[start : start + size]) for start in range(0, len(items), size)]


async def lines_response(plan: Plan, *, parallel: int, timeout_s: float) -> Response:
    """Start the work, and answer as soon as its first batch is done.

    The headers describe the calls before the batches; each batch has a line.
    """
    parts = bounded_as_completed(plan.batches, parallel, timeout_s=timeout_s)
    try:
        first = await anext(parts, None)
    except TimeoutError:
        raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None
    headers = route_headers(plan.calls_before) if plan.calls_before else None
    return LinesResponse(_body(plan, first, parts, timeout_s), headers)


async def _body(
    plan: Plan, first: tuple[int, Part] | None, rest: AsyncIterator[tuple[int, Part]], timeout_s: float
) -> AsyncGenerator[bytes, None]:
    calls = list(plan.calls_before)
    done = 0
    try:
        async for part in _parts(first, rest):
            done += part.inputs
            calls += part.calls
            yield _joined([*part.lines, _progress(done, plan.total, part.calls)])
    except TimeoutError:
        yield _joined([_error(DeadlineExceeded(f"no answer within {timeout_s:g} s"))])
    except TrivetError as error:
        yield _joined([_error(error)])
    end: EndLine = {
        "object": "end",
        "complete": done == plan.total,
        "done": done,
        "total": plan.total,
        "usage": token_usage(call.result.usage for call in calls),
    }
    yield _joined([{**end, **plan.ending()}])


async def _parts(first: tuple[int, Part] | None, rest: AsyncIterator[tuple[int, Part]]) -> AsyncIterator[Part]:
    if first is None:
        return
    async with aclosing(rest):  # type: ignore[type-var]  # bounded_as_completed is a generator, which has aclose
        yield first[1]
        async for _, part in rest:
            yield part


def _progress(done: int, total: int, calls: Sequence[Routed[EngineResult]]) -> ProgressLine:
    return {
        "object": "progress",
        "done": done,
        "total": total,
        "device": ", ".join(dict.fromkeys(call.result.device for call in calls)) or "none",
        "reroute_reason": next((call.reroute_reason for call in calls if call.reroute_reason is not None), None),
    }


def _error(error: TrivetError) -> ErrorLine:
    return {"object": "error", **error_body(describe_any(error))}


def _joined(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(one_line(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY)) + b"\n" for line in lines)
