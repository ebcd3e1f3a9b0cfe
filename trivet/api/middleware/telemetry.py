"""Counts, times and logs every HTTP request, refused ones included, by route template and never by raw path.

Each request has one log line, on the logger `trivet.requests`, without texts, raw paths or keys. Its fields are
attributes of the log record, so the logging configuration chooses the encoding: JSON under Serve's `logging_config:
{encoding: JSON}`, the readable message elsewhere. Nothing here configures logging.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.dialect import Dialect, dialect_of
from trivet.api.scope import CLIENT_CLOSED_REQUEST, DIALECT, ERROR, HEALTH_PATHS
from trivet.dispatch.traffic import CallLog, CallTotals, begin_call_log
from trivet.metrics import NO_METRICS, REQUEST_SECONDS, REQUESTS, MetricsSink

LOGGER_NAME = "trivet.requests"
logger = logging.getLogger(LOGGER_NAME)

REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = REQUEST_ID_HEADER.encode()
MAX_REQUEST_ID = 128
"""Longer ids from callers are cut."""

UNMATCHED = "unmatched"
"""The route of requests that reached none: unknown paths, and those that middleware refused."""


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What is logged about one request once it has ended."""

    request_id: str
    method: str
    route: str
    dialect: Dialect
    status: int
    seconds: float
    error: str
    """Code or kind of the refusal; empty for none."""
    calls: CallLog

    @property
    def level(self) -> int:
        """INFO; DEBUG for health checks, which come every second, while they succeed."""
        return logging.DEBUG if self.route in HEALTH_PATHS and self.status < 400 else logging.INFO

    @property
    def message(self) -> str:
        """Human-readable."""
        where = _joined(call.device for call in self.calls.totals.values()) or self.error
        return f"{self.method} {self.route} {self.status} {self.seconds * 1e3:.1f} ms{f' {where}' if where else ''}"

    def fields(self) -> dict[str, Any]:
        """Attributes of the log record. `http_route`, since Serve writes another value into `route`."""
        calls = self.calls.totals.values()
        return {
            "request_id": self.request_id,
            "http_method": self.method,
            "http_route": self.route,
            "http_status": self.status,
            "dialect": self.dialect,
            "duration_ms": _ms(self.seconds),
            "lane": _joined(call.lane for call in calls),
            "device": _joined(call.device for call in calls),
            "reroute_reason": "; ".join(self.calls.reroute_reasons),
            "tokens": sum(call.tokens for call in calls),
            "error": self.error,
            "calls": [_call_fields(call) for call in calls],
        }


def log_request(line: RequestLine) -> None:
    """Write the line."""
    if logger.isEnabledFor(line.level):
        logger.log(line.level, line.message, extra=line.fields())


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where requests are reported."""

    sink: MetricsSink = NO_METRICS
    log: Callable[[RequestLine], None] | None = log_request
    """Called for each request that has ended; None logs none."""
    answer_request_id: bool = True
    """Put `x-request-id` on the answer. False behind a proxy that does so, or it would be there twice."""
    clock: Callable[[], float] = time.monotonic
    """Measures requests and the calls made for them."""


class TelemetryMiddleware:
    """ASGI middleware; outside of those that may refuse a request."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; report it once its last byte is out or it has failed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        calls = CallLog(self._telemetry.clock())
        begin_call_log(calls)
        status = 500  # for an exception that leaves this middleware

        async def send_wrapper(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._telemetry.answer_request_id:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_wrapper)
        except asyncio.CancelledError:
            status = CLIENT_CLOSED_REQUEST
            raise
        finally:
            self._report(scope, request_id, calls, status)

    def _report(self, scope: Scope, request_id: str, calls: CallLog, status: int) -> None:
        seconds = self._telemetry.clock() - calls.started_s
        route: str = getattr(scope.get("route"), "path", UNMATCHED)
        dialect: Dialect = scope.get(DIALECT) or dialect_of(route)
        self._telemetry.sink.observe(REQUEST_SECONDS, {"route": route, "dialect": dialect}, seconds)
        self._telemetry.sink.count(REQUESTS, {"route": route, "dialect": dialect, "status": str(status)})
        if self._telemetry.log is not None:
            error: str = scope.get(ERROR, "")
            self._telemetry.log(RequestLine(request_id, scope["method"], route, dialect, status, seconds, error, calls))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _REQUEST_ID and value:
            return str(value.decode("latin-1")[:MAX_REQUEST_ID])
    return uuid.uuid4().hex


def _call_fields(call: CallTotals) -> dict[str, Any]:
    return {
        "model": call.model,
        "lane": call.lane,
        "calls": call.calls,
        "tokens": call.tokens,
        "sequences": call.sequences,
        "tokenize_ms": _ms(call.tokenize_s),
        "queue_ms": _ms(call.queue_s),
        "forward_ms": _ms(call.forward_s),
        "total_ms": _ms(call.total_s),
    }


def _joined(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
