"""What the three tasks share: the tokenizer, the limits, and how a long text is treated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trivet.engine.jobs import Job
from trivet.engine.model_files import ModelFiles
from trivet.engine.tokenizer import TextTokenizer
from trivet.errors import InputTooLong, InvalidInput
from trivet.messages import LongInput

RequestT = TypeVar("RequestT", contravariant=True)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of one engine, in tokens and sequences."""

    overlap_tokens: int = 64
    max_sequences: int = 16384


class Task(Protocol[RequestT]):
    """Prepares requests for the scheduler. Pure apart from the tokenizer it calls; runs in a worker thread."""

    def prepare(self, requests: Sequence[RequestT]) -> list[Job | InvalidInput]:
        """Turn each request into a job, or into the error its caller gets."""


class TaskBase(Generic[RequestT]):
    """Runs `_prepare_one` per request, so that a bad request fails alone."""

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        self.files = files
        self.tokenizer = tokenizer
        self.limits = limits
        self.device = device

    def prepare(self, requests: Sequence[RequestT]) -> list[Job | InvalidInput]:
        """See `Task.prepare`."""
        prepared: list[Job | InvalidInput] = []
        for request in requests:
            try:
                prepared.append(self._prepare_one(request))
            except InvalidInput as error:
                prepared.append(error)
        return prepared

    def _prepare_one(self, request: RequestT) -> Job:
        raise NotImplementedError

    def _check_sequences(self, count: int, param: str) -> None:
        if count > self.limits.max_sequences:
            raise InvalidInput(
                f"this request unfolds into {count} model inputs; the limit is {self.limits.max_sequences}. "
                "Send fewer or shorter texts.",
                param=param,
                code="too_many_sequences",
            )


def check_length(policy: LongInput, tokens: int, limit_tokens: int, param: str) -> bool:
    """Apply the long-input policy: whether the text must be cut; InputTooLong where the caller asked for it."""
    if tokens <= limit_tokens or policy == "window":
        return False
    if policy == "error":
        raise InputTooLong(param=param, tokens=tokens, limit_tokens=limit_tokens)
    return True
