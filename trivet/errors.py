"""The one tree of errors that Trivet raises.

    TrivetError
    ├── ConfigError            the configuration contradicts itself or the machine
    ├── ModelError             a checkpoint that cannot be served as asked
    ├── InvalidInput           the request is wrong; `param` names the field
    │   └── InputTooLong       a text exceeds the model's limit and the caller asked for an error
    ├── Overloaded             refused before any work; come back after `retry_after_s`
    ├── DeadlineExceeded       the caller's time ran out before an answer was ready
    ├── Unavailable            no lane can answer now; come back after `retry_after_s`
    ├── GpuUnavailable         this GPU lane cannot do this work; its CPU replica can
    └── EngineError            a forward failed for a reason that no retry will cure

Errors cross process borders, so every one survives pickling with all its fields. They do not know HTTP:
`trivet.api.errors.problem` is the one place that turns them into answers.
"""

from typing import Any


class TrivetError(Exception):
    """Base of everything Trivet raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls `cls(*args)`, which fails for keyword-only fields and loses attributes.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[TrivetError], args: tuple[Any, ...], state: dict[str, Any]) -> TrivetError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(TrivetError):
    """The configuration contradicts itself, or asks for what this machine does not have."""


class ModelError(TrivetError):
    """A checkpoint that is missing, damaged, or not the architecture it claims to be."""


class InvalidInput(TrivetError):
    """The request is wrong. `param` is the path of the offending field, such as `documents[3]`."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class InputTooLong(InvalidInput):
    """A text has more tokens than the model takes, and the caller asked not to have it windowed."""

    def __init__(self, *, param: str, tokens: int, limit_tokens: int) -> None:
        super().__init__(
            # These very words make litellm, and those who build on it, see a full context window.
            f"{param} has {tokens} tokens; this model's maximum context length is {limit_tokens} tokens. "
            "Send long_input=window to have it read in overlapping windows, or truncate to cut it.",
            param=param,
            code="context_length_exceeded",
        )
        self.tokens = tokens
        self.limit_tokens = limit_tokens


class Overloaded(TrivetError):
    """Refused at the door because accepted work already fills the queue."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(TrivetError):
    """The request's deadline passed before its work was finished."""


class Unavailable(TrivetError):
    """Neither lane can answer at the moment."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GpuUnavailable(TrivetError):
    """The GPU lane cannot do this work now; `reason` says why, in words for people.

    `node` is the id of the cluster's node that refused, where there is a cluster: another one may have room.
    """

    def __init__(self, reason: str, *, node: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node


class EngineError(TrivetError):
    """A forward failed, and would fail again."""
