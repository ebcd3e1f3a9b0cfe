"""Splits many texts into requests, and joins their answers. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from typing_extensions import TypedDict

from trivet.client import calls
from trivet.client.answers import Embedding, Embeddings, Service
from trivet.client.calls import Call, InputType, LongInput, Priority
from trivet.client.errors import MalformedAnswer

T = TypeVar("T")

KIB = 1024


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Maximum size of one request. A single text that is larger is sent as a separate request."""

    inputs: int = 128
    bytes: int = 512 * KIB
    """UTF-8 bytes of text. Well below the server's default limit of 8 MiB, so that servers can have lower limits."""


class EmbedOptions(TypedDict, total=False):
    """The options of `embed`, for many texts. `priority` is `bulk` by default; `timeout_s` applies to each request."""

    input_type: InputType | None
    instruction: str | None
    dimensions: int | None
    model: str | None
    long_input: LongInput | None
    priority: Priority | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The answer to one of many requests. `embeddings.items[i]`, whose index starts at 0, is of text `start + i`."""

    start: int
    embeddings: Embeddings


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a bulk call."""

    done: int
    """Texts embedded so far."""
    total: int
    tokens: int
    """Tokens embedded so far."""


OnProgress: TypeAlias = Callable[[Progress], None]


def batches_of(
    items: Iterable[T], size_bytes: Callable[[T], int], limits: BatchLimits
) -> Iterator[tuple[int, list[T]]]:
    """Split items, in order, into (position of the first, items). Reads `items` lazily, one batch at a time."""
    start = 0
    batch: list[T] = []
    batch_bytes = 0
    for item in items:
        item_bytes = size_bytes(item)
        if batch and (len(batch) >= limits.inputs or batch_bytes + item_bytes > limits.bytes):
            yield start, batch
            start += len(batch)
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += item_bytes
    if batch:
        yield start, batch


def utf8_bytes(text: str) -> int:
    """Return the UTF-8 size of a text. Counts lone surrogates too; `Call.content` rejects them with a message."""
    return len(text.encode("utf-8", "surrogatepass"))


def embed_calls(texts: Iterable[str], limits: BatchLimits, options: EmbedOptions) -> Iterator[Call[Embeddings]]:
    """Yield the requests for any number of texts. Raises TypeError if `texts` is a single string."""
    bulk: EmbedOptions = {"priority": "bulk", **options}
    for start, batch in batches_of(calls.not_one_string(texts, "texts"), utf8_bytes, limits):
        yield replace(calls.embed(batch, **bulk), start=start)


class Joining:
    """Joins answers, added in order, into one, and reports the progress."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._answers: list[Embeddings] = []
        self._done = 0
        self._tokens = 0

    def add(self, batch: Batch) -> None:
        """Add the next answer. Raises MalformedAnswer if its model differs from that of the previous answers."""
        answer = batch.embeddings
        if self._answers and answer.model != self._answers[0].model:
            before = self._answers[0].model
            raise MalformedAnswer(f"the server changed its model from {before} to {answer.model} during the call")
        self._answers.append(answer)
        self._done += len(answer.items)
        self._tokens += answer.tokens
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, self._total, self._tokens))

    def joined(self) -> Embeddings:
        """Return all answers as one, with consecutive positions."""
        items = [item for answer in self._answers for item in answer.items]
        return Embeddings(
            tuple(_at(index, item) for index, item in enumerate(items)),
            self._answers[0].model if self._answers else "",
            self._tokens,
            service=joined_service([answer.service for answer in self._answers]),
        )


def joined_service(services: Sequence[Service]) -> Service:
    """Combine how several calls were served: each device and each reason once."""
    devices = dict.fromkeys(service.device for service in services if service.device)
    reasons = dict.fromkeys(service.reroute_reason for service in services if service.reroute_reason)
    return Service(", ".join(devices), "; ".join(reasons) or None)


def _at(index: int, item: Embedding) -> Embedding:
    return item if item.index == index else replace(item, index=index)
