"""Forwards the library's log records to Serve, so that `logging_config` applies and each replica has one log file."""

import logging

serve_logger = logging.getLogger("ray.serve")
library_logger = logging.getLogger("trivet")


class _ToServe(logging.Handler):
    """Passes records to Serve's logger, which adds the replica and, within a request, the request's id."""

    def emit(self, record: logging.LogRecord) -> None:
        serve_logger.handle(record)


def send_library_logs_to_serve() -> None:
    """Forward the library's records to Serve's logger. Idempotent; each actor's constructor calls it."""
    if any(isinstance(handler, _ToServe) for handler in library_logger.handlers):
        return
    library_logger.addHandler(_ToServe())
    library_logger.setLevel(serve_logger.getEffectiveLevel())
    library_logger.propagate = False
