"""The results of calls: frozen dataclasses whose annotations also map each field to the JSON."""

import base64
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasPath, BeforeValidator, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLOAT_BYTES = 4

QuantizedType = Literal["int8", "uint8", "binary", "ubinary"]
"""Forms of vectors of one byte for each number, or for eight of them (`binary`, `ubinary`)."""


@dataclass(frozen=True, slots=True)
class Service:
    """How the server served a call."""

    device: str = ""
    """The device that ran the model; several, separated by commas, if the call needed several models."""
    reroute_reason: str | None = None
    """Why the CPU served the call instead of the GPU; None if it did not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Base of all results."""

    service: Service = field(default_factory=Service, kw_only=True)


Tokens = Annotated[int, Field(validation_alias=AliasPath("usage", "total_tokens"))]


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be base64 of float32 bytes")
    data = base64.b64decode(value, validate=True)
    if not data or len(data) % _FLOAT_BYTES:
        raise ValueError(f"{len(data)} bytes are not a vector of float32")
    return data


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one text."""

    index: int
    """Position among the texts of the call."""
    data: Annotated[bytes, BeforeValidator(_decoded), Field(validation_alias="embedding", repr=False)]
    """The vector as little-endian float32."""
    windows: int
    """Number of windows that the text was split into; their vectors are pooled."""
    truncated: bool
    """Whether the text was truncated; only with `long_input="truncate"`."""

    @property
    def dimensions(self) -> int:
        """Length of the vector."""
        return len(self.data) // _FLOAT_BYTES

    @property
    def vector(self) -> list[float]:
        """The vector as a list of floats."""
        values = array("f", self.data)
        if sys.byteorder == "big":
            values.byteswap()
        return values.tolist()


@dataclass(frozen=True, slots=True)
class Embeddings(Answer):
    """Vectors in the order of the texts."""

    items: Annotated[tuple[Embedding, ...], Field(validation_alias="data")]
    model: str
    tokens: Tokens

    @property
    def vectors(self) -> list[list[float]]:
        """All vectors as lists of floats."""
        return [item.vector for item in self.items]

    def to_numpy(self) -> "NDArray[np.float32]":
        """Return all vectors as one array, (texts, dimensions). Needs numpy."""
        import numpy as np

        joined = np.frombuffer(b"".join(item.data for item in self.items), dtype="<f4")
        return joined.reshape(len(self.items), -1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class QuantizedEmbedding:
    """The vector of one text, in whole numbers."""

    index: int
    """Position among the texts of the call."""
    vector: Annotated[tuple[int, ...], Field(validation_alias="embedding", repr=False)]
    windows: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class QuantizedEmbeddings(Answer):
    """Vectors in the order of the texts."""

    items: Annotated[tuple[QuantizedEmbedding, ...], Field(validation_alias="data")]
    model: str
    tokens: Tokens

    @property
    def vectors(self) -> list[tuple[int, ...]]:
        """All vectors."""
        return [item.vector for item in self.items]


@dataclass(frozen=True, slots=True)
class SparseEmbedding:
    """The weights of one text."""

    index: int
    """Position among the texts of the call."""
    indices: Annotated[tuple[int, ...], Field(validation_alias=AliasPath("embedding", "indices"), repr=False)]
    """Token ids, ascending."""
    values: Annotated[tuple[float, ...], Field(validation_alias=AliasPath("embedding", "values"), repr=False)]
    """The weight of each."""
    windows: int
    """Number of windows that the text was split into; each token id has its largest weight."""
    truncated: bool

    @property
    def weights(self) -> dict[int, float]:
        """Weight by token id."""
        return dict(zip(self.indices, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class SparseEmbeddings(Answer):
    """Weights in the order of the texts."""

    items: Annotated[tuple[SparseEmbedding, ...], Field(validation_alias="data")]
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class TokenEmbedding:
    """The vectors of one text's tokens."""

    index: int
    """Position among the texts of the call."""
    vectors: Annotated[tuple[tuple[float, ...], ...], Field(validation_alias="embedding", repr=False)]
    """One for each token that counts."""
    windows: int
    """Number of windows that the text was split into; their vectors follow one another."""
    truncated: bool

    def to_numpy(self) -> "NDArray[np.float32]":
        """Return the vectors as one array, (tokens, dimensions). Needs numpy."""
        import numpy as np

        return np.array(self.vectors, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class TokenEmbeddings(Answer):
    """Vectors of tokens in the order of the texts."""

    items: Annotated[tuple[TokenEmbedding, ...], Field(validation_alias="data")]
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document of a ranking."""

    index: int
    """Position among the documents of the call."""
    score: Annotated[float, Field(validation_alias="relevance_score")]
    """Relevance, 0..1."""
    windows: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Ranking(Answer):
    """Documents, the most relevant first."""

    results: tuple[Ranked, ...]
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its score, 0..1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classified:
    """The labels of one input, the most likely first."""

    index: int
    labels: tuple[LabelScore, ...]
    windows: int
    truncated: bool

    @property
    def label(self) -> str:
        """The most likely label."""
        return self.labels[0].label


@dataclass(frozen=True, slots=True)
class Classification(Answer):
    """Inputs in the order of the call."""

    items: Annotated[tuple[Classified, ...], Field(validation_alias="data")]
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a document."""

    start: int
    """Position of the first character."""
    end: int
    start_line: int
    """Counted from 1."""
    end_line: int
    text: str = ""
    """Empty where the caller has the document."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two passages that speak for an edge, and what they say."""

    source: Span
    target: Span
    relation: str
    confidence: float
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """The relation of a source to a target; indices are positions in the call."""

    source_index: int
    target_index: int
    relation: str
    confidence: float
    """Score of `relation`, 0..1."""
    scores: Mapping[str, float]
    """Score of every relation; they sum to 1."""
    relevance: float | None
    """Relevance of the target to the source, 0..1; None if the call had `pairs`."""
    windows: int
    truncated: bool
    evidence: tuple[Evidence, ...] = ()
    """The passages that speak for the edge, the strongest pair first; empty from a server that reads texts whole."""


@dataclass(frozen=True, slots=True)
class Omitted:
    """Number of candidates without an edge, by reason."""

    below_min_relevance: int
    beyond_top_k: int
    below_threshold: int
    unrelated: int = 0
    """Candidates that were compared and found unrelated."""
    unlinked_code: int = 0
    """Candidates of code that the source, code too, does not use, by the paths sent with them."""


@dataclass(frozen=True, slots=True)
class Relations(Answer):
    """Edges, in descending order of the candidates' relevance."""

    edges: tuple[Edge, ...]
    omitted: Omitted
    tokens: Tokens


def _lengths(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(tokens, list) for tokens in value):
        raise ValueError("must be a list of tokens for each text")
    return tuple(len(tokens) for tokens in value)


@dataclass(frozen=True, slots=True)
class TokenCounts(Answer):
    """The number of tokens of each text."""

    counts: Annotated[tuple[int, ...], BeforeValidator(_lengths)]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the server."""

    name: Annotated[str, Field(validation_alias="id")]
    task: str
    """`embedder`, `reranker` or `classifier`."""
    revision: str
    max_tokens: int
    """Longest sequence in tokens; longer texts are read in windows."""
    dimensions: int | None
    labels: tuple[str, ...] | None
    precision: str
    outputs: tuple[str, ...] | None = None
    """What an embedder can make of a text: `dense`, `sparse`, `tokens`."""


@dataclass(frozen=True, slots=True)
class Models(Answer):
    """All models of the server."""

    models: Annotated[tuple[ServedModel, ...], Field(validation_alias="data")]

    def of_task(self, task: str) -> ServedModel:
        """Return the model of a task. Raises KeyError if the server has none."""
        for model in self.models:
            if model.task == task:
                return model
        raise KeyError(task)


@dataclass(frozen=True, slots=True)
class LaneState:
    """The state of one lane (`gpu` or `cpu`) of one model."""

    ready: bool
    device: str
    detail: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """The current route of a model's requests with its reason, and the state of its lanes."""

    route: str
    lanes: Mapping[str, LaneState]


@dataclass(frozen=True, slots=True)
class Readiness(Answer):
    """The server's readiness: `ready`, `degraded`, `starting` or `unavailable`."""

    status: str
    models: Mapping[str, ModelState]

    @property
    def answers(self) -> bool:
        """Whether every model has at least one lane that is ready."""
        return self.status in ("ready", "degraded")
