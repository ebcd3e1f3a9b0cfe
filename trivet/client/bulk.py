"""Many texts as a stream of requests: how they are cut, and how the answers are joined. Pure."""

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
    """The most that one request carries. A single larger text is a request of its own."""

    inputs: int = 128
    bytes: int = 512 * KIB
    """Of text, as UTF-8. A server takes 8 MiB by default, so this leaves room for its own limits to be lowered."""


class EmbedOptions(TypedDict, total=False):
    """The options of `embed`, for many texts; `priority` is `bulk` unless given, `timeout_s` is for each request."""

    input_type: InputType | None
    dimensions: int | None
    model: str | None
    long_input: LongInput | None
    priority: Priority | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """One answered request of many. `embeddings.items[i]` is about text `start + i`, and counts from 0."""

    start: int
    embeddings: Embeddings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a bulk call is."""

    done: int
    """Texts embedded."""
    total: int
    tokens: int
    """Tokens read so far."""


OnProgress: TypeAlias = Callable[[Progress], None]


def batches_of(
    items: Iterable[T], size_bytes: Callable[[T], int], limits: BatchLimits
) -> Iterator[tuple[int, list[T]]]:
    """Cut items, in order, into (position of the first, items); takes from `items` only what a batch needs."""
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
    """Size of a text on its way; what UTF-8 cannot express is refused later, with a message."""
    return len(text.encode("utf-8", "surrogatepass"))


def embed_calls(texts: Iterable[str], limits: BatchLimits, options: EmbedOptions) -> Iterator[Call[Embeddings]]:
    """The requests for any number of texts; TypeError for one string in their place."""
    bulk: EmbedOptions = {"priority": "bulk", **options}
    for start, batch in batches_of(calls.not_one_string(texts, "texts"), utf8_bytes, limits):
        yield replace(calls.embed(batch, **bulk), start=start)


class Joining:
    """Joins answers that come in order into one, telling how far they are."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._answers: list[Embeddings] = []
        self._done = 0
        self._tokens = 0

    def add(self, batch: Batch) -> None:
        """Take the next answer; MalformedAnswer if another model gave it than the ones before."""
        answer = batch.embeddings
        if self._answers and answer.model != self._answers[0].model:
            raise MalformedAnswer(f"the server changed its model from {self._answers[0].model} to {answer.model}")
        self._answers.append(answer)
        self._done += len(answer.items)
        self._tokens += answer.tokens
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, self._total, self._tokens))

    def joined(self) -> Embeddings:
        """All answers as one; positions count through."""
        items = [item for answer in self._answers for item in answer.items]
        return Embeddings(
            tuple(_at(index, item) for index, item in enumerate(items)),
            self._answers[0].model if self._answers else "",
            self._tokens,
            service=joined_service([answer.service for answer in self._answers]),
        )


def joined_service(services: Sequence[Service]) -> Service:
    """How several calls were served: every device, every reason, each once."""
    devices = dict.fromkeys(service.device for service in services if service.device)
    reasons = dict.fromkeys(service.reroute_reason for service in services if service.reroute_reason)
    return Service(", ".join(devices), "; ".join(reasons) or None)


def _at(index: int, item: Embedding) -> Embedding:
    return item if item.index == index else replace(item, index=index)
