"""The four kinds of labelled sets. Plain values; `files` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    """A query and its relevant documents, as positions in the set's corpus."""

    query: str
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries over one corpus. Measures the embedder, and the reranker on the documents that the embedder found."""

    name: str
    corpus: tuple[str, ...]
    queries: tuple[RetrievalQuery, ...]


@dataclass(frozen=True, slots=True)
class RerankQuery:
    """A query with its candidates. `relevant` are positions among them."""

    query: str
    documents: tuple[str, ...]
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class RerankSet:
    """Queries with their candidates. Measures the reranker, and the embedder for comparison."""

    name: str
    queries: tuple[RerankQuery, ...]


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two texts and the relation from `source` to `target`."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True, slots=True)
class PairSet:
    """Labelled pairs. Measures the classifier. `relations` maps relations to hypotheses; None: those of the server."""

    name: str
    pairs: tuple[LabelledPair, ...]
    relations: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its label."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class TextSet:
    """Labelled texts. Measures the classifier, which chooses among the labels that occur."""

    name: str
    texts: tuple[LabelledText, ...]
    labels: tuple[str, ...]
    """The distinct labels, sorted; also those that occur only in texts which were left out."""


LabelledSet = RetrievalSet | RerankSet | PairSet | TextSet
