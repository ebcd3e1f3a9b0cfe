"""One log line per request, on the logger `trivet.requests`; never a text, a raw path or a key.

The fields are attributes of the log record, so the logging configuration chooses the encoding: JSON under Serve's
`logging_config: {encoding: JSON}`, the readable message elsewhere. Nothing here configures logging.
"""

import logging
from collections.abc import Iterable
from typing import Any

from trivet.api.paths import HEALTH_PATHS
from trivet.api.request_context import RequestRecord
from trivet.dispatch.traffic import CallTotals

logger = logging.getLogger("trivet.requests")


def log_request(method: str, route: str, status: int, seconds: float, record: RequestRecord) -> None:
    """Write the line. Health checks come every second, so they are logged at level DEBUG while they succeed."""
    level = logging.DEBUG if route in HEALTH_PATHS and status < 400 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields = _fields(method, route, status, seconds, record)
    where = fields["device"] or fields["error"]
    logger.log(level, "%s %s %d %.1f ms%s", method, route, status, seconds * 1e3, where and f" {where}", extra=fields)


def _fields(method: str, route: str, status: int, seconds: float, record: RequestRecord) -> dict[str, Any]:
    """The line's fields. `http_route`, since Serve's own filter writes the application's prefix into `route`."""
    calls = record.calls.totals.values()
    return {
        "request_id": record.request_id,
        "http_method": method,
        "http_route": route,
        "http_status": status,
        "dialect": record.dialect_on(route),
        "duration_ms": _ms(seconds),
        "lane": _joined(call.lane for call in calls),
        "device": _joined(call.device for call in calls),
        "reroute_reason": "; ".join(record.calls.reroute_reasons),
        "tokens": sum(call.tokens for call in calls),
        "error": record.error or "",
        "calls": [_call_fields(call) for call in calls],
    }


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
