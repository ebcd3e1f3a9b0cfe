"""Who a request is for, where callers are told apart by keys. What one caller computed is not shown to another."""

from contextvars import ContextVar

_caller: ContextVar[str | None] = ContextVar("trivet_caller", default=None)


def begin_caller(name: str) -> None:
    """Set the caller of this task and of those it starts: the name of the key that was shown."""
    _caller.set(name)


def current_caller() -> str | None:
    """Return the caller's name; None where no keys are configured."""
    return _caller.get()
