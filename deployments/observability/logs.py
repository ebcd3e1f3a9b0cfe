"""Forwards the library's log records to Serve, so that `logging_config` applies and each replica has one log file."""

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from logging.handlers import MemoryHandler, RotatingFileHandler
from types import SimpleNamespace
from typing import Any

from ray._private.log import INTERNAL_TIMESTAMP_LOG_KEY
from ray.serve._private.logging_utils import ServeContextFilter

from trivet.api.middleware import telemetry

serve_logger = logging.getLogger("ray.serve")
library_logger = logging.getLogger("trivet")

LINES_AT_ONCE = 64
WRITE_EVERY_S = 0.5
"""How long a line waits for others at most: the lines before a crash should explain it."""


class _ToServe(logging.Handler):
    """Hands a record to Serve's logger, which adds the replica and, within a request, its id."""

    def emit(self, record: logging.LogRecord) -> None:
        serve_logger.handle(record)


def send_library_logs_to_serve() -> None:
    """Forward the library's records to Serve's logger. Idempotent; each actor's constructor calls it."""
    for handler in serve_logger.handlers:
        _report_failures_outside_the_log(handler)
    if any(isinstance(handler, _ToServe) for handler in library_logger.handlers):
        return
    library_logger.addHandler(_ToServe())
    library_logger.setLevel(serve_logger.getEffectiveLevel())
    library_logger.propagate = False


def _report_failures_outside_the_log(handler: logging.Handler) -> None:
    """Let a handler that cannot write say so in the process's own error output.

    `logging` reports it to `sys.stderr`, which in a replica is Serve's logger: with a full disk each report would be
    the next failure, and the request that logs would end with a RecursionError.
    """
    handler.handleError = _report_failure  # type: ignore[method-assign]
    if isinstance(handler, MemoryHandler) and handler.target is not None:
        _report_failures_outside_the_log(handler.target)


def _report_failure(record: logging.LogRecord) -> None:
    if sys.__stderr__ is not None:
        with suppress(OSError):  # on the same full disk: there is no other place
            sys.__stderr__.write(f"a line of the log was lost ({sys.exception()!r}): {record.getMessage()[:200]}\n")
            sys.__stderr__.flush()


class RequestLines:
    """Writes the lines of requests to Serve's handlers, some at a time.

    It does so after 64, and whenever `write` is called, which the ingress does every `WRITE_EVERY_S`.

    Line by line, logging would cost a tenth of a request: to find out about the process again, to see whether the file
    must be rotated, and to write. And Serve's own buffer would keep a thousand lines from the file.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[telemetry.RequestLine, float, dict[str, Any]]] = []

    def __call__(self, line: telemetry.RequestLine) -> None:
        """Take the line of a request that has just ended."""
        if telemetry.logger.isEnabledFor(line.level):
            self._waiting.append((line, time.time(), _context_of_request()))
            if len(self._waiting) >= LINES_AT_ONCE:
                self.write()

    def write(self) -> None:
        """Write the collected lines, and what Serve's buffer holds."""
        waiting, self._waiting = self._waiting, []
        for handler in serve_logger.handlers:
            if isinstance(handler, MemoryHandler):
                handler.flush()
            if waiting:
                process = _context_of_process(handler)
                _handle([_record(*line, process) for line in waiting], handler)


def _context_of_request() -> dict[str, Any]:
    """Return what Serve adds to a record within a request."""
    context = SimpleNamespace()
    ServeContextFilter().filter(context)
    return vars(context)


def _context_of_process(handler: logging.Handler) -> dict[str, Any]:
    """Return what a handler's filters add to every record of this process."""
    probe = logging.LogRecord(telemetry.LOGGER_NAME, logging.INFO, "", 0, "", (), None)
    own = set(vars(probe))
    handler.filter(probe)
    return {name: value for name, value in vars(probe).items() if name not in own}


def _record(
    line: telemetry.RequestLine, at_s: float, request: dict[str, Any], process: dict[str, Any]
) -> logging.LogRecord:
    record = logging.LogRecord(telemetry.LOGGER_NAME, line.level, telemetry.__file__, 0, line.message, (), None)
    record.created, record.msecs = at_s, at_s % 1 * 1000
    record.__dict__.update(line.fields(), **process | request, **{INTERNAL_TIMESTAMP_LOG_KEY: int(at_s * 1e9)})
    return record


def _handle(records: Sequence[logging.LogRecord], handler: logging.Handler) -> None:
    file = handler.target if isinstance(handler, MemoryHandler) else None
    if not isinstance(file, RotatingFileHandler):
        for record in records:
            handler.handle(record)
        return
    text = "".join(f"{file.format(record)}{file.terminator}" for record in records)
    file.acquire()
    try:
        if file.shouldRollover(records[-1]):
            file.doRollover()
        assert file.stream is not None  # opened by `shouldRollover`
        file.stream.write(text)
        file.flush()
    except OSError:
        # As of every handler: a disk that is full costs the lines, not the request that has just ended.
        file.handleError(records[-1])
    finally:
        file.release()
