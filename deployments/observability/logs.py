"""Forwards the library's log records to Serve, so that `logging_config` applies and each replica has one log file."""

import logging
import weakref
from logging.handlers import MemoryHandler

from ray.serve._private.logging_utils import ServeContextFilter

serve_logger = logging.getLogger("ray.serve")
library_logger = logging.getLogger("trivet")

REQUESTS = "trivet.requests"
"""The logger that has a line for every request."""


class _ToServe(logging.Handler):
    """Hands a record to Serve's logger, whose filters add the replica and, within a request, its id.

    Finding out about the process again for each request would cost more than the rest of the line, so the lines of
    requests get what the filters added to the first one. Serve does the same for its own access log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process: dict[str, object] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != REQUESTS:
            serve_logger.handle(record)
        elif self._process is None:
            own = set(vars(record))
            serve_logger.handle(record)
            self._process = {name: value for name, value in vars(record).items() if name not in own}
        else:
            record.__dict__.update(self._process)
            _OF_REQUEST.filter(record)  # type: ignore[no-untyped-call]
            record.__dict__["skip_context_filter"] = True
            serve_logger.handle(record)


_OF_REQUEST = ServeContextFilter()
"""Adds what differs from request to request."""


class _FormatOnce(logging.Formatter):
    """Formats a record once. A file that is rotated by size asks twice: for the line's length, and for the line."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter
        self._last: weakref.ref[logging.LogRecord] | None = None
        self._line = ""

    def format(self, record: logging.LogRecord) -> str:
        if self._last is None or self._last() is not record:
            self._line = self._formatter.format(record)
            self._last = weakref.ref(record)
        return self._line


def send_library_logs_to_serve() -> None:
    """Forward the library's records to Serve's logger. Idempotent; each actor's constructor calls it."""
    if any(isinstance(handler, _ToServe) for handler in library_logger.handlers):
        return
    for handler in serve_logger.handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        if target is not None and target.formatter is not None:
            target.setFormatter(_FormatOnce(target.formatter))
    library_logger.addHandler(_ToServe())
    library_logger.setLevel(serve_logger.getEffectiveLevel())
    library_logger.propagate = False
