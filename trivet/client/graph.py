"""The relations between all of some documents, as a stream: what is sent, and what comes back line by line. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from trivet.client.answers import Answer, Evidence
from trivet.client.calls import Call, Priority
from trivet.client.errors import Busy, ClientError, MalformedAnswer, Refused, ServerFailed, TimedOut

PATH = "/v1/graph"


@dataclass(frozen=True, slots=True)
class GraphDocument:
    """A text of a graph. `path` and `kind` say what it is written in; `id` names it in the answer."""

    id: str
    text: str
    path: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A relation between two documents, which `source` and `target` name by their ids."""

    source: str
    target: str
    relation: str
    directed: bool
    """Whether the relation leads from the source to the target; otherwise it holds both ways."""
    confidence: float
    relevance: float | None
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphProgress:
    """How far a stage of the work is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """All edges of a document have been sent: a later call may name it in `done`."""

    id: str


def _message(value: object) -> object:
    return value.get("message", str(value)) if isinstance(value, dict) else value


Message: TypeAlias = Annotated[str, BeforeValidator(_message)]


@dataclass(frozen=True, slots=True)
class RefusedDocument:
    """A document that could not be read; the others are."""

    id: str | None
    """None if it has no id that can be read; `index` is its position among the documents."""
    error: Message
    index: int | None = None


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """The last event: counts, such as the edges that were omitted, and the tokens used."""

    fields: Mapping[str, Any] = field(default_factory=dict)


GraphEvent: TypeAlias = GraphEdge | GraphProgress | DocumentDone | RefusedDocument | GraphSummary

_KINDS: Mapping[str, Any] = {
    "edge": GraphEdge,
    "progress": GraphProgress,
    "document_done": DocumentDone,
    "refused_document": RefusedDocument,
}


@dataclass(frozen=True, slots=True)
class GraphAnswer(Answer):
    """Stands for the stream, which is read line by line."""


class GraphOptions(TypedDict, total=False):
    """The options of `graph`."""

    done: Iterable[str]
    relations: Mapping[str, str] | None
    passage_pairs: int | None
    neighbours: int | None
    per_document: int | None
    threshold: float | None
    min_relevance: float | None
    include_unrelated: bool
    priority: Priority | None
    timeout_s: float | None


def graph(
    documents: Sequence[GraphDocument],
    *,
    done: Iterable[str] = (),
    relations: Mapping[str, str] | None = None,
    passage_pairs: int | None = None,
    neighbours: int | None = None,
    per_document: int | None = None,
    threshold: float | None = None,
    min_relevance: float | None = None,
    include_unrelated: bool = False,
    priority: Priority | None = None,
    timeout_s: float | None = None,
) -> Call[GraphAnswer]:
    """Find the relations between documents.

    Args:
        documents: At least two texts with different ids.
        done: Ids of documents whose edges the caller has already; they only are targets.
        relations: Relation → hypothesis about (source, target). None: the server's relations.
        passage_pairs: Classify this many pairs of passages per pair of documents.
        neighbours: Look at this many nearest passages of each passage.
        per_document: Keep at most this many edges of each document.
        threshold: Omit edges with a lower confidence, 0..1. None: the server's default.
        min_relevance: Omit pairs with a lower relevance, 0..1. None: the server's default.
        include_unrelated: Also send edges whose relation is that no relation holds.
        priority: `bulk` gives precedence to interactive requests.
        timeout_s: Deadline of the whole call in seconds.
    """
    body = _without_none(
        documents=[_without_none(**asdict(one)) for one in documents],
        done=sorted(done) or None,
        relations=None if relations is None else dict(relations),
        passage_pairs=passage_pairs,
        neighbours=neighbours,
        per_document=per_document,
        threshold=threshold,
        min_relevance=min_relevance,
        include_unrelated=include_unrelated or None,
    )
    return Call(PATH, GraphAnswer, body, timeout_s, priority)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def event_of(line: str) -> GraphEvent | None:
    """Parse one line; None for events that this client does not know.

    Raises:
        MalformedAnswer: the line is not an event.
        ClientError: the line says why the stream ends early.
    """
    try:
        body = json.loads(line)
    except ValueError as error:
        raise MalformedAnswer(f"a line of {PATH} is not JSON: {line[:100]!r}") from error
    if not isinstance(body, dict) or not isinstance(body.get("event"), str):
        raise MalformedAnswer(f"a line of {PATH} has no event: {line[:100]!r}")
    match body["event"]:
        case "error":
            raise _error(body.get("error"))
        case "summary":
            return GraphSummary({name: value for name, value in body.items() if name != "event"})
        case name if name in _KINDS:
            return _validated(name, line)
        case _:
            return None


def _validated(name: str, line: str) -> GraphEvent:
    try:
        event: GraphEvent = _adapter(name).validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise MalformedAnswer(f"the event {name} of {PATH} is malformed: {where}: {first['msg']}") from error
    return event


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[name])


_BY_TYPE: Mapping[str, type[ClientError]] = {
    "invalid_request_error": Refused,
    "overloaded_error": Busy,
    "unavailable_error": Busy,
    "timeout_error": TimedOut,
}


def _error(error: object) -> ClientError:
    """The error of a stream that had begun: its status was 200, so its type says what it is."""
    detail = error if isinstance(error, dict) else {"message": str(error)}
    texts = {name: value for name, value in detail.items() if isinstance(value, str)}
    kind = _BY_TYPE.get(texts.get("type", ""), ServerFailed)
    message = texts.get("message", "the stream ended with an error")
    return kind(message, param=texts.get("param"), code=texts.get("code"))
