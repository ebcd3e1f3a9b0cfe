"""Counts, times and logs every HTTP request, the refused ones included. Route templates only, never raw paths."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivet.api.middleware.request_log import log_request
from trivet.api.request_context import RequestRecord, begin_record
from trivet.metric_sinks import NO_METRICS
from trivet.metrics import REQUEST_SECONDS, REQUESTS, MetricsSink

REQUEST_ID_HEADER = "x-request-id"
MAX_REQUEST_ID = 128
"""Longer ids of callers are cut."""

UNMATCHED = "unmatched"
"""The route of requests that no route took: unknown paths, and those refused at the door."""

_CLIENT_CLOSED_REQUEST = 499


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where a request's numbers go."""

    sink: MetricsSink = NO_METRICS
    log_requests: bool = True
    answer_request_id: bool = True
    """Put `x-request-id` on the answer. False behind a proxy that does, or it would be there twice."""
    clock: Callable[[], float] = time.monotonic
    """The same one measures the request's calls."""


class TelemetryMiddleware:
    """ASGI middleware; the outermost, so that it sees what the others refuse."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through; account for it when its last byte is out, or it failed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(_request_id(scope), self._telemetry.clock())
        begin_record(record)
        status = 500  # what an exception that leaves this middleware becomes

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._telemetry.answer_request_id:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            status = _CLIENT_CLOSED_REQUEST
            raise
        finally:
            self._account(scope, record, status)

    def _account(self, scope: Scope, record: RequestRecord, status: int) -> None:
        seconds = self._telemetry.clock() - record.started_s
        route: str = getattr(scope.get("route"), "path", UNMATCHED)
        labels = {"route": route, "dialect": record.spoken(route)}
        self._telemetry.sink.observe(REQUEST_SECONDS, labels, seconds)
        self._telemetry.sink.count(REQUESTS, {**labels, "status": str(status)})
        if self._telemetry.log_requests:
            log_request(scope["method"], route, status, seconds, record)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER.encode() and value:
            return str(value.decode("latin-1")[:MAX_REQUEST_ID])
    return uuid.uuid4().hex
