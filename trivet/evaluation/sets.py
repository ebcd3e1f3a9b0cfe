"""Labelled sets, of the four kinds that can be measured. Plain values; `files` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    """A query and the documents that answer it, as positions in the set's corpus."""

    query: str
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries over one corpus: asks the embedder, then the reranker about what the embedder found."""

    name: str
    corpus: tuple[str, ...]
    queries: tuple[RetrievalQuery, ...]


@dataclass(frozen=True, slots=True)
class RerankQuery:
    """A query with candidates of its own. `relevant` are positions among them."""

    query: str
    documents: tuple[str, ...]
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class RerankSet:
    """Queries with their own candidates: asks the reranker, and the embedder for comparison."""

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
    """Labelled pairs: asks the classifier for relations. `relations` are their hypotheses; None: the server's own."""

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
    """Labelled texts: asks the classifier for one of the labels that occur."""

    name: str
    texts: tuple[LabelledText, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({one.label for one in self.texts}))


LabelledSet = RetrievalSet | RerankSet | PairSet | TextSet
