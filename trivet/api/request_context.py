"""What is noted about one HTTP request while it is answered: the source of its log line and its metrics.

The record travels in a context variable, so routes and dispatchers need not pass it along. It holds no text of the
request.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from trivet.api.dialect import Dialect, dialect_of
from trivet.config import Lane, Task
from trivet.messages import StageTimings


@dataclass(slots=True)
class CallsRecord:
    """All engine calls that one request made to one model on one lane, added up."""

    model: Task
    lane: Lane
    device: str
    calls: int = 0
    tokens: int = 0
    sequences: int = 0
    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0
    total_s: float = 0.0

    def add(self, tokens: int, sequences: int, timings: StageTimings, total_s: float) -> None:
        """Take one more call."""
        self.calls += 1
        self.tokens += tokens
        self.sequences += sequences
        self.tokenize_s += timings.tokenize_s
        self.queue_s += timings.queue_s
        self.forward_s += timings.forward_s
        self.total_s += total_s


@dataclass(slots=True)
class RequestRecord:
    """One request. Filled in by whoever knows."""

    request_id: str
    started_s: float
    dialect: Dialect | None = None
    """Set where the path alone does not tell."""
    error: str | None = None
    """Code or kind of the refusal, in the native words."""
    reroute_reasons: dict[str, None] = field(default_factory=dict)
    """In the order they occurred, each once."""
    calls: dict[tuple[Task, Lane], CallsRecord] = field(default_factory=dict)

    def calls_to(self, model: Task, lane: Lane, device: str) -> CallsRecord:
        """The sum to which a call belongs."""
        return self.calls.setdefault((model, lane), CallsRecord(model, lane, device))

    def spoken(self, route: str) -> Dialect:
        """The dialect: as noted, else what the route's path alone says."""
        if self.dialect is not None:
            return self.dialect
        return dialect_of(route)


_current: ContextVar[RequestRecord | None] = ContextVar("trivet_request_record", default=None)


def current_record() -> RequestRecord | None:
    """The record of the request that is being answered here; None outside of one."""
    return _current.get()


def begin_record(record: RequestRecord) -> None:
    """Make it the current one, for this task and those it starts."""
    _current.set(record)


def note_dialect(dialect: Dialect) -> None:
    """Say which dialect the request turned out to speak."""
    record = _current.get()
    if record is not None:
        record.dialect = dialect


def note_error(error: str) -> None:
    """Say why the request is refused."""
    record = _current.get()
    if record is not None:
        record.error = error
