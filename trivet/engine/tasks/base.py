"""The common part of all tasks: the tokenizer, the limits, and the treatment of long texts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from trivet.checkpoint.description import ModelFiles
from trivet.engine.scheduling.jobs import Job
from trivet.engine.text.tokenizer import Ids, TextTokenizer, TooManyTokens
from trivet.errors import EngineError, InputTooLong, InvalidInput, TrivetError
from trivet.messages import EngineRequest, LongInput
from trivet.turns import Steps, finish

logger = logging.getLogger(__name__)

RequestT = TypeVar("RequestT", bound=EngineRequest)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of one engine; `max_sequences` and `max_request_tokens` hold for one request."""

    overlap_tokens: int = 64
    max_sequences: int = 16384
    max_request_tokens: int = 1_000_000


class TaskBase(Generic[RequestT]):
    """Prepares requests for the scheduler. Pure apart from the tokenizer that it calls; runs in a worker thread."""

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        self.files = files
        self.tokenizer = tokenizer
        self.limits = limits
        self.device = device

    def prepare_one(self, request: RequestT) -> Job | TrivetError:
        """Do all steps of `prepare_steps` at once."""
        return finish(self.prepare_steps(request))

    def prepare_steps(self, request: RequestT) -> Steps[Job | TrivetError]:
        """Turn a request into a job, or into its error: a bad request must not fail those batched with it."""
        try:
            job = yield from self._prepare(request)
            self._check_not_empty(job, request)
            self._check_tokens(job.tokens, request)
        except InvalidInput as error:
            return error
        except TooManyTokens:
            return self._too_many_tokens("more than the limit", request)
        except Exception as error:  # a bug of ours must not fail them either
            logger.exception("a request could not be prepared")
            return EngineError(f"the request could not be prepared: {type(error).__name__}: {error}")
        return job

    def _prepare(self, request: RequestT) -> Steps[Job]:
        raise NotImplementedError

    def encode(self, texts: Sequence[str], long_input: LongInput) -> Steps[list[Ids]]:
        """Return the ids of each text, without special tokens.

        Raises:
            TooManyTokens: they exceed the request's limit. Tokenising further would only delay other requests.
        """
        if long_input == "truncate":  # what lies beyond the model's limit will be cut, and does not count
            return self.tokenizer.encode_steps(texts, most_each=self.files.max_tokens)
        return self.tokenizer.encode_steps(texts, most_tokens=self.limits.max_request_tokens)

    def _check_not_empty(self, job: Job, request: RequestT) -> None:
        if not job.sequences:  # no output would ever arrive, and the caller would wait indefinitely
            raise InvalidInput("there are no texts", field=request.inputs_field, code="no_texts")

    def _check_sequences(self, count: int, request: RequestT) -> None:
        if count > self.limits.max_sequences:
            raise InvalidInput(
                f"this request expands to {count} model inputs; the limit is {self.limits.max_sequences}. "
                "Send fewer or shorter texts.",
                field=request.inputs_field,
                code="too_many_sequences",
            )

    def _check_tokens(self, tokens: int, request: RequestT) -> None:
        if tokens > self.limits.max_request_tokens:
            raise self._too_many_tokens(f"{tokens} tokens", request)

    def _too_many_tokens(self, count: str, request: RequestT) -> InvalidInput:
        return InvalidInput(
            f"this request expands to {count}; the limit is {self.limits.max_request_tokens} tokens. "
            "Send fewer or shorter texts.",
            field=request.inputs_field,
            code="too_many_tokens",
        )


def check_length(policy: LongInput, tokens: int, limit_tokens: int, field: str, index: int | None = None) -> bool:
    """Apply the long-input policy. Returns whether the text must be cut; raises `InputTooLong` under "error"."""
    if tokens <= limit_tokens or policy == "window":
        return False
    if policy == "error":
        raise InputTooLong(field=field, index=index, tokens=tokens, limit_tokens=limit_tokens)
    return True
