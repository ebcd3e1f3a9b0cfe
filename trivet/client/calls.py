"""Calls as values: what to send, and how to read what comes back. Pure; the clients turn them into HTTP.

Each function here is a method of both clients, with the same parameters. Those that all of them take:

    timeout_s   the whole call, retries and pauses included; the server is told what is left of it
    priority    `bulk` lets interactive requests overtake the call: for indexing
    model       a served name, if you want the call refused where another model is served
    long_input  a text longer than the model is read in `window`s (default), is an `error`, or is cut: `truncate`
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from trivet.client.answers import (
    Answer,
    Classification,
    Embeddings,
    Models,
    Ranking,
    Readiness,
    Relations,
    Service,
)
from trivet.client.errors import MalformedAnswer, Refused

LongInput = Literal["window", "error", "truncate"]
InputType = Literal["query", "document"]
Priority = Literal["interactive", "bulk"]

AnswerT = TypeVar("AnswerT", bound=Answer)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A text to classify against a second one."""

    text: str
    text_pair: str


@dataclass(frozen=True, slots=True)
class RelationPair:
    """Two texts whose relation is asked for."""

    source: str
    target: str


def _unchecked(answer: Any) -> None:
    """Nothing to check beyond the types."""


@dataclass(frozen=True, slots=True)
class Call(Generic[AnswerT]):
    """One request and the kind of its answer. `check` raises MalformedAnswer for what types cannot tell."""

    path: str
    answer: type[AnswerT]
    body: Mapping[str, Any] | None = None
    """None: a GET."""
    timeout_s: float | None = None
    """None: the client's."""
    priority: Priority | None = None
    """None: the client's."""
    answers_also_at: Collection[int] = ()
    """Statuses besides 200 under which the answer may come. A body there that is none is an error of that status: a
    proxy has words of its own."""
    start: int = 0
    """Place of the first input among all inputs, where this call carries only some of them."""
    check: Callable[[AnswerT], None] = _unchecked

    @property
    def method(self) -> str:
        """HTTP's verb."""
        return "GET" if self.body is None else "POST"

    def content(self) -> bytes:
        """The body as JSON; Refused if a text cannot be written as UTF-8."""
        if self.body is None:
            return b""
        try:
            return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError as error:
            excerpt = ascii(error.object[max(0, error.start - 20) : error.end + 20])
            raise Refused(f"a text holds half a surrogate pair, which UTF-8 cannot express: {excerpt}") from error

    def read(self, content: bytes, headers: Mapping[str, str]) -> AnswerT:
        """The answer in a response; MalformedAnswer says where it is not one."""
        try:
            # Mypy takes the __hash__ of the answers' classes for that of their metaclass.
            adapter: TypeAdapter[AnswerT] = _adapter(self.answer)  # type: ignore[arg-type]
            answer = adapter.validate_json(content, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise MalformedAnswer(f"the answer of {self.path} is not Trivet's: {where}: {first['msg']}") from error
        self.check(answer)
        service = Service(headers.get("x-trivet-device", ""), headers.get("x-trivet-reroute-reason"))
        return replace(answer, service=service)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def embed(
    texts: Sequence[str],
    *,
    input_type: InputType | None = None,
    dimensions: int | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Embeddings]:
    """Embed texts, in one request. `embed_many` takes any number of them.

    Args:
        texts: At least one, none of them empty. Errors call them `input[0]`, `input[1]`, …
        input_type: `query` or `document` picks the prompt that the model has for it, if it has one.
        dimensions: Keep this many of each vector's numbers (Matryoshka models), normalised again.
        model: Refuse to be served by another model.
        long_input: What becomes of a text longer than the model.
        priority: `bulk` lets interactive requests go first.
        timeout_s: For the whole call, in seconds.
    """
    body = _without_none(
        input=_listed(texts, "texts"),
        encoding_format="base64",  # a quarter of the bytes of decimal numbers, and exact
        dimensions=dimensions,
        input_type=input_type,
        model=model,
        long_input=long_input,
    )
    count = len(body["input"])

    def check(answer: Embeddings) -> None:
        _check_positions("/v1/embeddings", [item.index for item in answer.items], count)
        if len({item.dimensions for item in answer.items}) > 1:
            raise MalformedAnswer("the answer of /v1/embeddings has vectors of several lengths")

    return Call("/v1/embeddings", Embeddings, body, timeout_s, priority, check=check)


def rerank(
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Ranking]:
    """Sort documents by relevance to a query; of a long document the best window counts.

    Args:
        query: What is looked for.
        documents: At least one, none of them empty.
        top_n: Return only this many.
        model: Refuse to be served by another model.
        long_input: What becomes of a text longer than the model.
        priority: `bulk` lets interactive requests go first.
        timeout_s: For the whole call, in seconds.
    """
    body = _without_none(
        query=query, documents=_listed(documents, "documents"), top_n=top_n, model=model, long_input=long_input
    )
    count = len(body["documents"])

    def check(answer: Ranking) -> None:
        found = {item.index for item in answer.results}
        wanted = min(count, top_n or count)
        if len(answer.results) != wanted or len(found) != wanted or not found <= set(range(count)):
            raise MalformedAnswer(f"the answer of /v1/rerank ranks {sorted(found)} of {count} documents")

    return Call("/v1/rerank", Ranking, body, timeout_s, priority, check=check)


def classify(
    texts: Sequence[str | Pair],
    labels: Sequence[str] | Mapping[str, str],
    *,
    hypothesis_template: str | None = None,
    multi_label: bool = False,
    model: str | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Classification]:
    """Score labels of your own about texts, or about pairs of texts.

    Args:
        texts: At least one. Errors call them `input[0]`, `input[1]`, …
        labels: Names, or names with the hypothesis each stands for.
        hypothesis_template: The hypothesis of a label without its own; `{}` is where the label goes.
        multi_label: Score each label by itself, instead of all against each other.
        model: Refuse to be served by another model.
        long_input: What becomes of a text longer than the model.
        priority: `bulk` lets interactive requests go first.
        timeout_s: For the whole call, in seconds.
    """
    body = _without_none(
        input=[asdict(item) if isinstance(item, Pair) else item for item in _listed(texts, "texts")],
        labels=dict(labels) if isinstance(labels, Mapping) else _listed(labels, "labels"),
        hypothesis_template=hypothesis_template,
        multi_label=multi_label,
        model=model,
        long_input=long_input,
    )
    count = len(body["input"])

    def check(answer: Classification) -> None:
        _check_positions("/v1/classify", [item.index for item in answer.items], count)
        if any({score.label for score in item.labels} != set(labels) for item in answer.items):
            raise MalformedAnswer("the answer of /v1/classify scores other labels than were asked for")

    return Call("/v1/classify", Classification, body, timeout_s, priority, check=check)


def relate(
    source: str | None = None,
    candidates: Sequence[str] | None = None,
    *,
    pairs: Sequence[RelationPair] | None = None,
    top_k: int | None = None,
    min_relevance: float | None = None,
    relations: Mapping[str, str] | None = None,
    threshold: float | None = None,
    long_input: LongInput | None = None,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[Relations]:
    """Name the relation of a source to candidates (rerank, then classify the best), or of given pairs.

    Args:
        source: The text whose relations are asked for; with `candidates`.
        candidates: What it may relate to.
        pairs: Instead of these two: pairs that are classified as they are.
        top_k: Classify this many of the most relevant candidates; the server's default is 16.
        min_relevance: Leave out candidates below this, 0..1. None: as the server is configured.
        relations: Relation → hypothesis about (source, candidate), in place of the server's.
        threshold: Leave out edges of less confidence, 0..1. None: as the server is configured.
        long_input: What becomes of a text longer than the model.
        priority: `bulk` lets interactive requests go first.
        timeout_s: For the whole call, in seconds.
    """
    body = _without_none(
        source=source,
        candidates=None if candidates is None else _listed(candidates, "candidates"),
        pairs=None if pairs is None else [asdict(pair) for pair in _listed(pairs, "pairs")],
        top_k=top_k,
        min_relevance=min_relevance,
        relations=None if relations is None else dict(relations),
        threshold=threshold,
        long_input=long_input,
    )
    targets = len(body.get("candidates") or body.get("pairs") or ())

    def check(answer: Relations) -> None:
        if not all(0 <= edge.target_index < targets for edge in answer.edges):
            raise MalformedAnswer(f"the answer of /v1/relations has edges to others than the {targets} targets")

    return Call("/v1/relations", Relations, body, timeout_s, priority, check=check)


def models(*, timeout_s: float | None = None) -> Call[Models]:
    """The models served. `timeout_s` is for the whole call, in seconds."""
    return Call("/v1/models", Models, timeout_s=timeout_s)


def ready(*, timeout_s: float | None = None) -> Call[Readiness]:
    """Whether every model can answer, and on which device. A server that cannot yet is an answer, not an error."""
    return Call("/readyz", Readiness, timeout_s=timeout_s, answers_also_at=(503,))


def not_one_string(items: Iterable[T], name: str) -> Iterable[T]:
    """The items as they are; TypeError for one string, each character of which would be taken for an item."""
    if isinstance(items, str):
        raise TypeError(f"{name} is one string; give a list of them")
    return items


def _listed(items: Iterable[T], name: str) -> list[T]:
    return list(not_one_string(items, name))


def _check_positions(path: str, positions: list[int], count: int) -> None:
    if positions != list(range(count)):
        raise MalformedAnswer(f"the answer of {path} does not have the {count} inputs in their order")


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
