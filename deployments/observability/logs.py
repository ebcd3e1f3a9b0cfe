"""Joins the library's logging to Serve's, so that both obey `logging_config` and end up in one file per replica."""

import logging

serve_logger = logging.getLogger("ray.serve")
library_logger = logging.getLogger("trivet")


class _ToServe(logging.Handler):
    """Hands a record to Serve's logger, which adds the replica and, within a request, its id."""

    def emit(self, record: logging.LogRecord) -> None:
        serve_logger.handle(record)


def send_library_logs_to_serve() -> None:
    """Called by each actor's constructor; once per process is enough, more does no harm."""
    if any(isinstance(handler, _ToServe) for handler in library_logger.handlers):
        return
    library_logger.addHandler(_ToServe())
    library_logger.setLevel(serve_logger.getEffectiveLevel())
    library_logger.propagate = False
