"""The one tree of errors that Trivet raises.

    TrivetError
    ├── ConfigError            the configuration contradicts itself or the machine
    ├── ModelError             a checkpoint that cannot be served as asked
    ├── InvalidInput           the request is wrong; `field` and `index` say where
    │   └── InputTooLong       a text exceeds the model's limit and the caller asked for an error
    ├── Overloaded             refused before any work; retry after `retry_after_s`
    ├── DeadlineExceeded       the caller's time ran out before the answer was ready
    ├── Unavailable            no lane can answer now; retry after `retry_after_s`
    ├── GpuUnavailable         this GPU lane cannot do this work; its CPU replica can
    └── EngineError            a forward failed, and a retry would fail again

Errors cross process boundaries, so each survives pickling with all its fields. They know no HTTP:
`trivet.api.errors.problem` turns them into answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trivet.gpu import GpuId


class TrivetError(Exception):
    """Base of everything Trivet raises on purpose."""

    @property
    def message(self) -> str:
        """What went wrong, as the caller may read it."""
        return str(self.args[0])

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return self.message

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
    """The request is wrong.

    `field` is the name of the offending field, and `index` the position of the offending input in it, where it is one
    of several. Both are data: what dispatches a part of a request replaces `index` by the position in the whole.
    """

    def __init__(
        self, message: str, *, field: str | None = None, index: int | None = None, code: str = "invalid_value"
    ) -> None:
        super().__init__(message)
        self.field = field
        self.index = index
        self.code = code

    @property
    def param(self) -> str | None:
        """The path of the offending value, such as `documents[3]`."""
        return self.field if self.index is None else f"{self.field}[{self.index}]"


class InputTooLong(InvalidInput):
    """A text has more tokens than the model takes, and the caller chose an error over windows."""

    def __init__(self, *, field: str, index: int | None = None, tokens: int, limit_tokens: int) -> None:
        super().__init__("a text is too long for the model", field=field, index=index, code="context_length_exceeded")
        self.tokens = tokens
        self.limit_tokens = limit_tokens

    @property
    def message(self) -> str:
        """Names the input, its length, the limit and the remedies."""
        # litellm and its users recognise a full context window by the words "maximum context length".
        return (
            f"{self.param} has {self.tokens} tokens; "
            f"this model's maximum context length is {self.limit_tokens} tokens. "
            "Send long_input=window to have it read in overlapping windows, or truncate to cut it."
        )


class Overloaded(TrivetError):
    """Refused before any work because the accepted work already fills the queue."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(TrivetError):
    """The request's deadline passed before its work was finished."""


class Unavailable(TrivetError):
    """No lane can answer at the moment."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GpuUnavailable(TrivetError):
    """The GPU lane cannot do this work now; `reason` is a human-readable explanation.

    `gpu` is the GPU that refused, where it is known: another one may have room.
    """

    def __init__(self, reason: str, *, gpu: GpuId | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.gpu = gpu


class EngineError(TrivetError):
    """A forward failed, and would fail again."""


@contextmanager
def remap_field_index(positions: Sequence[int]) -> Iterator[None]:
    """Replace the index `i` of an error raised inside by `positions[i]`, the input's position in the whole request."""
    try:
        yield
    except InvalidInput as error:
        if error.index is not None:
            error.index = positions[error.index]
        raise
