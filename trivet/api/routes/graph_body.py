"""The body of `POST /v1/graph`, and the lines of its answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from trivet.api.answers import SpanAnswer
from trivet.api.errors.bodies import ErrorDetail
from trivet.api.fields import Flag
from trivet.api.schemas import Count, FilePath, LabelName, Score, Text
from trivet.relations.graph import Stage

MAX_PER_DOCUMENT = 100
MAX_NEIGHBOURS = 64
MAX_PASSAGE_PAIRS = 16

RelationName = Annotated[LabelName, Field(max_length=1024)]
"""Repeated in every edge and in all of its evidence, like the ids of documents."""

DocumentId = Annotated[str, Field(min_length=1, max_length=1024)]


class GraphDocument(BaseModel):
    """One text of the graph."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: DocumentId
    """What edges and events call it; unique in the request."""
    text: Text
    path: FilePath | None = None
    """The file's path: its format follows from it, and imports are resolved to it."""
    kind: Literal["code", "prose"] | None = None
    """What the text is, where the path does not say it."""


GraphDocuments = Annotated[
    list[Annotated[Any, WithJsonSchema(GraphDocument.model_json_schema())]],
    Field(min_length=1),
]
"""Checked one by one by the route, since a wrong document must not end the run of the others."""


class GraphBody(BaseModel):
    """`POST /v1/graph`: documents, and how to look for relations among them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    documents: GraphDocuments
    relations: Annotated[dict[RelationName, Text], Field(min_length=2)] | None = None
    """Label → hypothesis about a first and a second text. Default: the configured ones."""
    symmetric: list[LabelName] | None = None
    """The labels that have no direction. Default: the configured ones, which matter only for labels that exist."""
    no_relation: LabelName | None = None
    """The label that says that nothing relates the texts, where the caller gives relations."""
    passage_pairs: Annotated[Count, Field(le=MAX_PASSAGE_PAIRS, json_schema_extra={"maximum": MAX_PASSAGE_PAIRS})] = 3
    """Most pairs of passages that are classified per pair of documents."""
    neighbours: Annotated[Count, Field(le=MAX_NEIGHBOURS, json_schema_extra={"maximum": MAX_NEIGHBOURS})] = 8
    """Candidate passages per passage."""
    per_document: Annotated[Count, Field(le=MAX_PER_DOCUMENT, json_schema_extra={"maximum": MAX_PER_DOCUMENT})] = 10
    """Most edges that leave a document."""
    threshold: Score | None = None
    """Least confidence of an edge. Default: the configured one for the configured relations, 0 for the caller's."""
    min_relevance: Score | None = None
    """Least relevance of an edge that models found. Default: as configured."""
    include_unrelated: Flag = False
    """Whether pairs that are found unrelated become edges, too."""
    done: list[DocumentId] = []
    """Documents whose edges the caller has from an earlier run: those for which `document_done` came."""
    embedder: str | None = None
    reranker: str | None = None
    classifier: str | None = None
    """Names of the models, as `model` elsewhere: another name than the served one is refused."""


class ProgressEvent(TypedDict):
    """How far a stage is. `total` may grow while documents come in from a stage before."""

    event: Literal["progress"]
    stage: Stage
    done: int
    total: int


class SpanOfDocument(SpanAnswer):
    """A passage with its text, which the caller need not cut out."""

    text: str


class GraphEvidence(TypedDict):
    """The pair of passages that spoke for an edge."""

    source: SpanOfDocument
    target: SpanOfDocument
    relation: str
    confidence: float
    relevance: float | None


class EdgeEvent(TypedDict):
    """A relation: `source` is the first text of its hypothesis, `target` the second."""

    event: Literal["edge"]
    source: str
    target: str
    relation: str
    directed: bool
    confidence: float
    relevance: float | None
    evidence: list[GraphEvidence]


class DocumentDoneEvent(TypedDict):
    """All edges that leave this document have been sent."""

    event: Literal["document_done"]
    id: str


class RefusedDocumentEvent(TypedDict):
    """A document that is left out, and why. `id` is None where it has none that can be read."""

    event: Literal["refused_document"]
    id: str | None
    index: int
    error: ErrorDetail


class SummaryEvent(TypedDict):
    """The last line of a run that was finished."""

    event: Literal["summary"]
    documents: int
    refused_documents: int
    passages: int
    pairs_imported: int
    """Pairs of documents whose relation follows from an import; no model read them."""
    pairs_classified: int
    """Pairs of passages that were classified, in one direction or in both."""
    pairs_reranked: int
    """Pairs of passages that were reranked: those that show an edge."""
    edges: int
    unrelated_omitted: int
    below_threshold: int
    below_min_relevance: int
    beyond_per_document: int
    truncated: int
    """Passages of which the models read only a part."""
    tokens: int
    seconds: float
    devices: list[str]


class GraphErrorEvent(TypedDict):
    """Why the run ends early, in the native shape."""

    event: Literal["error"]
    error: ErrorDetail
    done: NotRequired[list[str]]


GraphEvent = (
    ProgressEvent
    | EdgeEvent
    | DocumentDoneEvent
    | RefusedDocumentEvent
    | SummaryEvent
    | GraphErrorEvent
    | Mapping[str, Any]
)
