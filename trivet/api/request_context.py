"""What is noted about one HTTP request while it is answered, for its log line and its metrics.

The record travels in a context variable, so routes need not pass it along. It holds no text of the request.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from trivet.api.dialect import Dialect, dialect_of
from trivet.dispatch.traffic import CallLog, begin_call_log


@dataclass(slots=True)
class RequestRecord:
    """One request and the calls made for it."""

    request_id: str
    calls: CallLog
    dialect: Dialect | None = None
    """Set where the path alone does not determine it."""
    error: str | None = None
    """Code or kind of the refusal, as the native dialect names it."""

    def dialect_on(self, route: str) -> Dialect:
        """The dialect: the noted one, else the one that the route's path implies."""
        if self.dialect is not None:
            return self.dialect
        return dialect_of(route)


_current: ContextVar[RequestRecord | None] = ContextVar("trivet_request_record", default=None)


def begin_record(record: RequestRecord) -> None:
    """Make it the current one, its calls included, for this task and those it starts."""
    _current.set(record)
    begin_call_log(record.calls)


def note_dialect(dialect: Dialect) -> None:
    """Note which dialect the request's body turned out to be in."""
    record = _current.get()
    if record is not None:
        record.dialect = dialect


def note_error(error: str) -> None:
    """Note why the request is refused."""
    record = _current.get()
    if record is not None:
        record.error = error
