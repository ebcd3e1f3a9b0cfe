"""Chooses, among many documents, the pairs whose relation an import proves, and those that models have to read. Pure.

An import is a relation by itself, which no model has to confirm. What is left are links by names alone, and the nearest
passages where one of the texts is prose.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trivet.messages import Floats
from trivet.relations.claims import Claim, DocumentPair
from trivet.relations.division import Document, Excerpt
from trivet.relations.links import IMPORT_CONFIDENCE, Link, is_code, links
from trivet.relations.nearest import neighbours


@dataclass(frozen=True, slots=True)
class Budget:
    """How many candidates are kept."""

    neighbours: int
    """Passages per passage."""
    passage_pairs: int
    """Pairs of passages per pair of documents."""
    linked: int
    """Documents per document, by links."""
    similar: int
    """Documents per document, by their passages' similarity."""


@dataclass(frozen=True, slots=True)
class ReadingPair:
    """Two passages to read, by their positions among all passages."""

    first: int
    second: int
    cosine: float
    directed: bool
    """Whether a link says that the first is the first text of the relation."""
    relation: str | None = None
    """The only relation that may hold, which a link between code proposes; None: any."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of documents; the first one of a pair comes first in the request."""

    proven: Mapping[DocumentPair, Sequence[Claim]] = field(default_factory=dict)
    """With what their links say."""
    unproven: Mapping[DocumentPair, Sequence[ReadingPair]] = field(default_factory=dict)
    """With the passages to read, the most similar ones first."""


def candidates(
    documents: Sequence[Document],
    passages: Sequence[Sequence[Excerpt]],
    vectors: Floats,
    budget: Budget,
    link_relation: str | None,
) -> Candidates:
    """Return the pairs of documents to relate.

    Args:
        documents: in the order of the request.
        passages: of each document.
        vectors: (passages of all documents, d) unit vectors.
        budget: how many pairs to keep.
        link_relation: the relation of code that uses what other code defines; None: links prove nothing.
    """
    return _Choice(documents, passages, vectors, budget, link_relation).made()


class _Choice:
    def __init__(
        self,
        documents: Sequence[Document],
        passages: Sequence[Sequence[Excerpt]],
        vectors: Floats,
        budget: Budget,
        link_relation: str | None,
    ) -> None:
        self._passages = passages
        self._budget = budget
        self._link_relation = link_relation
        self._is_code = [is_code(document) for document in documents]
        self._starts = np.cumsum([0, *(len(of_document) for of_document in passages)]).tolist()
        self._vectors = vectors
        self._links = links(documents, passages)
        self._nearest = self._nearest_passages(vectors)

    def made(self) -> Candidates:
        proven: dict[DocumentPair, list[Claim]] = defaultdict(list)
        linked: dict[DocumentPair, list[ReadingPair]] = defaultdict(list)
        for link in self._strongest_links():
            key = _key(link.source, link.target)
            if self._link_relation is not None and link.imported:
                proven[key] += self._claims(link, self._link_relation)
            else:
                relation = self._link_relation if self._are_code(key) else None
                linked[key] += self._linked_passages(link, relation)
        unproven = dict(linked)
        for key in self._most_similar():
            if key not in unproven:
                unproven[key] = self._similar_passages(key)
        return Candidates(proven, unproven)

    def _nearest_passages(self, vectors: Floats) -> Mapping[DocumentPair, Mapping[tuple[int, int], float]]:
        """Return the cosine of each pair of passages of which one is among the nearest of the other."""
        owners = [index for index, of_document in enumerate(self._passages) for _ in of_document]
        nearest: defaultdict[DocumentPair, dict[tuple[int, int], float]] = defaultdict(dict)
        for block in neighbours(vectors, owners, self._budget.neighbours):
            for pair in block:
                first, second = _key(pair.first, pair.second)
                nearest[owners[first], owners[second]][first, second] = pair.cosine
        return nearest

    def _strongest_links(self) -> Iterator[Link]:
        of_source: defaultdict[int, list[Link]] = defaultdict(list)
        for link in self._links:
            of_source[link.source].append(link)
        for of_document in of_source.values():
            yield from sorted(of_document, key=self._strength, reverse=True)[: self._budget.linked]

    def _strength(self, link: Link) -> tuple[bool, float]:
        similarity = max(self._nearest.get(_key(link.source, link.target), {}).values(), default=0.0)
        return link.imported, link.names + similarity

    def _claims(self, link: Link, relation: str) -> Iterator[Claim]:
        for first, second in link.passages[: self._budget.passage_pairs]:
            source, target = self._passages[link.source][first], self._passages[link.target][second]
            yield Claim((link.source, link.target), relation, IMPORT_CONFIDENCE, True, source, target)

    def _most_similar(self) -> list[DocumentPair]:
        """Return the pairs of which one is among the nearest of the other.

        Similar code is left out: without a link, the classifier finds relations in it at random.
        """
        of_document: defaultdict[int, list[tuple[float, DocumentPair]]] = defaultdict(list)
        for key, pairs in self._nearest.items():
            if self._link_relation is not None and self._are_code(key):
                continue
            for index in key:
                of_document[index].append((max(pairs.values()), key))
        return sorted(
            {key for ranked in of_document.values() for _, key in sorted(ranked, reverse=True)[: self._budget.similar]}
        )

    def _linked_passages(self, link: Link, relation: str | None) -> Iterator[ReadingPair]:
        for of_source, of_target in link.passages[: self._budget.passage_pairs]:
            first, second = self._starts[link.source] + of_source, self._starts[link.target] + of_target
            yield ReadingPair(first, second, float(self._vectors[first] @ self._vectors[second]), True, relation)

    def _similar_passages(self, key: DocumentPair) -> list[ReadingPair]:
        ranked = sorted(self._nearest[key].items(), key=lambda item: -item[1])[: self._budget.passage_pairs]
        return [ReadingPair(first, second, cosine, directed=False) for (first, second), cosine in ranked]

    def _are_code(self, key: DocumentPair) -> bool:
        return self._is_code[key[0]] and self._is_code[key[1]]


def _key(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
