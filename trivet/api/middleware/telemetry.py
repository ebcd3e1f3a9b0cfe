"""Counts, times and logs every HTTP request, refused ones included, by route template and never by raw path."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.middleware.request_log import RequestLine, log_request
from trivet.api.request_context import RequestRecord, begin_record
from trivet.dispatch.traffic import CallLog
from trivet.metrics import NO_METRICS, REQUEST_SECONDS, REQUESTS, MetricsSink

REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = REQUEST_ID_HEADER.encode()
MAX_REQUEST_ID = 128
"""Longer ids from callers are cut."""

UNMATCHED = "unmatched"
"""The route of requests that reached none: unknown paths, and those that middleware refused."""

_CLIENT_CLOSED_REQUEST = 499


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
        record = RequestRecord(_request_id(scope), CallLog(self._telemetry.clock()))
        begin_record(record)
        status = 500  # for an exception that leaves this middleware

        async def send_wrapper(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._telemetry.answer_request_id:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            await send(message)

        try:
            await self._app(scope, receive, send_wrapper)
        except asyncio.CancelledError:
            status = _CLIENT_CLOSED_REQUEST
            raise
        finally:
            self._report(scope, record, status)

    def _report(self, scope: Scope, record: RequestRecord, status: int) -> None:
        seconds = self._telemetry.clock() - record.calls.started_s
        route: str = getattr(scope.get("route"), "path", UNMATCHED)
        dialect = record.dialect_on(route)
        self._telemetry.sink.observe(REQUEST_SECONDS, {"route": route, "dialect": dialect}, seconds)
        self._telemetry.sink.count(REQUESTS, {"route": route, "dialect": dialect, "status": str(status)})
        if self._telemetry.log is not None:
            self._telemetry.log(RequestLine(scope["method"], route, dialect, status, seconds, record))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _REQUEST_ID and value:
            return str(value.decode("latin-1")[:MAX_REQUEST_ID])
    return uuid.uuid4().hex
