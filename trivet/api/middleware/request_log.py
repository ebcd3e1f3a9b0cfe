"""One log line per request, on the logger `trivet.requests`; never a text, a raw path or a key.

The fields are attributes of the log record, so the logging configuration chooses the encoding: JSON under Serve's
`logging_config: {encoding: JSON}`, the readable message elsewhere. Nothing here configures logging.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trivet.api.dialect import Dialect
from trivet.api.paths import HEALTH_PATHS
from trivet.api.request_context import RequestRecord
from trivet.dispatch.traffic import CallTotals

LOGGER_NAME = "trivet.requests"

logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What is logged about one request once it has ended."""

    method: str
    route: str
    dialect: Dialect
    status: int
    seconds: float
    record: RequestRecord

    @property
    def level(self) -> int:
        """INFO; DEBUG for health checks, which come every second, while they succeed."""
        return logging.DEBUG if self.route in HEALTH_PATHS and self.status < 400 else logging.INFO

    @property
    def message(self) -> str:
        """Human-readable."""
        where = _joined(call.device for call in self.record.calls.totals.values()) or self.record.error
        return f"{self.method} {self.route} {self.status} {self.seconds * 1e3:.1f} ms{f' {where}' if where else ''}"

    def fields(self) -> dict[str, Any]:
        """Attributes of the log record. `http_route`, since Serve writes a name of its own into `route`."""
        calls = self.record.calls.totals.values()
        return {
            "request_id": self.record.request_id,
            "http_method": self.method,
            "http_route": self.route,
            "http_status": self.status,
            "dialect": self.dialect,
            "duration_ms": _ms(self.seconds),
            "lane": _joined(call.lane for call in calls),
            "device": _joined(call.device for call in calls),
            "reroute_reason": "; ".join(self.record.calls.reroute_reasons),
            "tokens": sum(call.tokens for call in calls),
            "error": self.record.error or "",
            "calls": [_call_fields(call) for call in calls],
        }


def log_request(line: RequestLine) -> None:
    """Write the line."""
    if logger.isEnabledFor(line.level):
        logger.log(line.level, line.message, extra=line.fields())


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
