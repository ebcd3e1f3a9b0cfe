"""Finds the relations among many documents, and yields what it finds while it works.

Documents → passages → vectors → candidate pairs → relevance → relations → edges. Candidates are the nearest neighbours
of each passage, and the passages where one document uses what another defines. A pair of documents belongs to the one
that comes first in the request; documents are finished in that order. Memory is that of the texts, one vector per
passage, and the chosen pairs.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineResult,
    Floats,
    PairText,
    Priority,
    RerankRequest,
    RerankResult,
)
from trivet.relations.claims import Claim, DocumentPair, claims_of, linked_claim, strongest
from trivet.relations.division import Document, Excerpt, divide_all
from trivet.relations.edges import Judgement, judgement_of
from trivet.relations.links import Link, is_code, links
from trivet.relations.nearest import neighbours, unit

Stage = Literal["passages", "embed", "candidates", "rerank", "classify"]

T = TypeVar("T")

_DIVIDED_AT_A_TIME = 16
_EMBEDDED_AT_A_TIME = 64
_DOCUMENTS_AT_A_TIME = 8
"""Documents whose pairs are read together: enough to fill forwards, few enough that edges come early."""
_CLASSIFIED_AT_A_TIME = 16
_PARALLEL_CALLS = 4


@dataclass(frozen=True, slots=True)
class GraphQuery:
    """Which relations to look for, and how many."""

    relations: Mapping[str, str]
    """Label → hypothesis."""
    no_relation: str | None
    symmetric: frozenset[str]
    """Labels without a direction."""
    threshold: float
    min_relevance: float
    passage_tokens: int
    link_relation: str | None = None
    """The relation of code that uses what other code defines. None: the classifier alone names it."""
    passage_pairs: int = 3
    neighbours: int = 8
    per_document: int = 10
    include_unrelated: bool = False
    done: frozenset[int] = frozenset()
    """Positions of the documents whose edges are known already."""
    priority: Priority = "bulk"
    no_store: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    stage: Stage
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A relation between two documents, by their positions, and the passages that show it, the best ones first."""

    source: int
    target: int
    relation: str
    directed: bool
    confidence: float
    relevance: float | None
    evidence: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """All edges that leave this document have been yielded."""

    index: int


@dataclass(slots=True)
class Counts:
    """What a run read and left out."""

    passages: int = 0
    pairs_considered: int = 0
    pairs_classified: int = 0
    edges: int = 0
    unrelated_omitted: int = 0
    below_threshold: int = 0
    below_min_relevance: int = 0
    beyond_per_document: int = 0
    truncated: int = 0
    tokens: int = 0
    devices: dict[str, None] = field(default_factory=dict)

    def add(self, routed: Routed[EngineResult]) -> None:
        """Count a call."""
        self.tokens += routed.result.usage.tokens
        self.truncated += sum(routed.result.usage.truncated)
        self.devices[routed.result.device] = None


GraphEvent = Progress | GraphEdge | DocumentDone


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two passages to read, by their positions among all passages."""

    first: int
    second: int
    directed: bool
    """Whether a link says that the first is the first text of the relation."""


def most_tokens(characters: int, documents: int, query: GraphQuery) -> int:
    """Return about the most tokens that a graph can take, from the size of its texts."""
    tokens = characters // 3
    if documents < 2:
        return tokens
    pairs = documents * min(_partners(query), documents - 1) * query.passage_pairs
    per_pair = 2 * min(query.passage_tokens, 1 + tokens // documents)
    return tokens + pairs * per_pair * (1 + 2 * len(query.relations))


class GraphRun:
    """One run over a set of documents; `counts` is complete when `events` has ended."""

    def __init__(self, dispatcher: Dispatcher, documents: Sequence[Document], query: GraphQuery) -> None:
        self.counts = Counts()
        self._dispatcher = dispatcher
        self._documents = documents
        self._query = query
        self._is_code = [is_code(document) for document in documents]
        self._passages: list[Excerpt] = []
        self._owners: list[int] = []

    async def events(self) -> AsyncGenerator[GraphEvent, None]:
        """Yield progress, edges and finished documents.

        Raises:
            TrivetError: a model failed; what was yielded before is right.
        """
        divided: list[tuple[Excerpt, ...]] = []
        for start, some in _batches(self._documents, _DIVIDED_AT_A_TIME):
            divided += await divide_all(some, self._query.passage_tokens)
            yield Progress("passages", start + len(some), len(self._documents))
        self._passages = [passage for passages in divided for passage in passages]
        self._owners = [index for index, passages in enumerate(divided) for _ in passages]
        self.counts.passages = len(self._passages)
        vectors: list[Floats | None] = [None] * len(self._passages)
        done = 0
        async for start, some_vectors in self._embedded():
            vectors[start : start + len(some_vectors)] = list(some_vectors)
            done += len(some_vectors)
            yield Progress("embed", done, len(self._passages))
        known = [vector for vector in vectors if vector is not None]
        matrix = unit(np.stack(known)) if known else np.zeros((0, 1), np.float32)  # every document was refused
        del vectors
        chosen = await asyncio.to_thread(self._chosen, matrix, divided)
        yield Progress("candidates", len(chosen), len(chosen))
        async with aclosing(self._related(chosen)) as related:
            async for event in related:
                yield event

    async def _embedded(self) -> AsyncGenerator[tuple[int, Floats], None]:
        async def embed(start: int, some: Sequence[Excerpt]) -> tuple[int, Routed[EmbedResult]]:
            request = EmbedRequest(
                tuple(passage.read for passage in some),
                priority=self._query.priority,
                no_store=self._query.no_store,
                inputs_field="documents",
            )
            return start, await self._dispatcher.call(request)

        calls = [partial(embed, start, some) for start, some in _batches(self._passages, _EMBEDDED_AT_A_TIME)]
        async for _, (start, routed) in bounded_as_completed(calls, _PARALLEL_CALLS):
            self.counts.add(routed)
            yield start, routed.result.vectors

    def _chosen(self, vectors: Floats, divided: Sequence[Sequence[Excerpt]]) -> dict[DocumentPair, list[_Pair]]:
        """Return the pairs of passages to read of each chosen pair of documents, whose first one comes first."""
        nearest: defaultdict[DocumentPair, dict[tuple[int, int], float]] = defaultdict(dict)
        for block in neighbours(vectors, self._owners, self._query.neighbours):
            for pair in block:
                first, second = sorted((pair.first, pair.second))
                nearest[self._owners[first], self._owners[second]][first, second] = pair.cosine
        found = links(self._documents, divided)
        starts = np.cumsum([0, *(len(passages) for passages in divided)]).tolist()
        linked: defaultdict[DocumentPair, list[_Pair]] = defaultdict(list)
        for link in found:
            key = (min(link.source, link.target), max(link.source, link.target))
            linked[key] += [
                _Pair(starts[link.source] + first, starts[link.target] + second, directed=True)
                for first, second in link.passages
            ]
        similar = {key: max(pairs.values()) for key, pairs in nearest.items()}
        chosen: dict[DocumentPair, list[_Pair]] = {}
        for key in sorted(self._partners(found, similar)):
            pairs = linked.get(key, [])
            if not pairs and self._are_code(key):
                continue  # similar code without a link: the classifier finds relations there at random
            if not pairs:
                by_cosine = sorted(nearest[key].items(), key=lambda item: -item[1])[: self._query.passage_pairs]
                pairs = [_Pair(first, second, directed=False) for (first, second), _ in by_cosine]
            chosen[key] = pairs
        return chosen

    def _are_code(self, key: DocumentPair) -> bool:
        return self._query.link_relation is not None and self._is_code[key[0]] and self._is_code[key[1]]

    def _partners(self, found: Sequence[Link], similar: Mapping[DocumentPair, float]) -> set[DocumentPair]:
        """Return the pairs of documents to read: of each document the strongest links and the nearest neighbours."""
        per_document = self._query.per_document
        strengths: defaultdict[int, list[tuple[float, DocumentPair]]] = defaultdict(list)
        for link in found:
            key = (min(link.source, link.target), max(link.source, link.target))
            strengths[link.source].append((link.strength + similar.get(key, 0.0), key))
        nearest: defaultdict[int, list[tuple[float, DocumentPair]]] = defaultdict(list)
        for key, cosine in similar.items():
            if self._are_code(key):
                continue
            for index in key:
                nearest[index].append((cosine, key))
        return {
            key
            for of_document, count in ((strengths, per_document), (nearest, _similar_partners(self._query)))
            for candidates in of_document.values()
            for _, key in sorted(candidates, reverse=True)[:count]
        }

    async def _related(self, chosen: Mapping[DocumentPair, list[_Pair]]) -> AsyncGenerator[GraphEvent, None]:
        by_first: defaultdict[int, list[DocumentPair]] = defaultdict(list)
        for key in chosen:
            if not set(key) <= self._query.done:
                by_first[key[0]].append(key)
        total = sum(len(chosen[key]) for keys in by_first.values() for key in keys)
        leaving: defaultdict[int, list[GraphEdge]] = defaultdict(list)
        done = 0
        for start, documents in _batches(range(len(self._documents)), _DOCUMENTS_AT_A_TIME):
            keys = [key for index in documents for key in by_first[index]]
            pairs = [(key, pair) for key in keys for pair in chosen[key]]
            relevance = await self._relevance([pair for _, pair in pairs])
            relevant = [
                (key, pair, score)
                for (key, pair), score in zip(pairs, relevance, strict=True)
                if score >= self._query.min_relevance
            ]
            self.counts.below_min_relevance += len(pairs) - len(relevant)
            yield Progress("rerank", done + len(pairs), total)
            claims = await self._read(relevant)
            done += len(pairs)
            yield Progress("classify", done, total)
            for key in keys:
                for edge in self._edges(claims.get(key, [])):
                    leaving[edge.source].append(edge)
            for index in range(start, start + len(documents)):
                if index in self._query.done:
                    continue
                best = sorted(leaving.pop(index, []), key=lambda edge: -edge.confidence)
                self.counts.beyond_per_document += max(0, len(best) - self._query.per_document)
                for edge in best[: self._query.per_document]:
                    self.counts.edges += 1
                    yield edge
                yield DocumentDone(index)

    async def _relevance(self, pairs: Sequence[_Pair]) -> list[float]:
        """Score pairs of passages: one call per first passage."""
        by_first: defaultdict[int, list[int]] = defaultdict(list)
        for number, pair in enumerate(pairs):
            by_first[pair.first].append(number)

        async def rerank(first: int, numbers: Sequence[int]) -> tuple[Sequence[int], Routed[RerankResult]]:
            request = RerankRequest(
                self._passages[first].read,
                tuple(self._passages[pairs[number].second].read for number in numbers),
                priority=self._query.priority,
                no_store=self._query.no_store,
                query_field="documents",
            )
            return numbers, await self._dispatcher.call(request)

        scores = [0.0] * len(pairs)
        calls = [partial(rerank, first, numbers) for first, numbers in by_first.items()]
        async for _, (numbers, routed) in bounded_as_completed(calls, _PARALLEL_CALLS):
            self.counts.add(routed)
            for number, score in zip(numbers, routed.result.scores, strict=True):
                scores[number] = float(score)
        self.counts.pairs_considered += len(pairs)
        return scores

    async def _read(self, relevant: Sequence[tuple[DocumentPair, _Pair, float]]) -> dict[DocumentPair, list[Claim]]:
        """Classify the best pair of passages of each pair of documents, and more only where a link promises a relation.

        Most pairs of documents have none, and reading is what costs.
        """
        waiting: defaultdict[DocumentPair, list[tuple[DocumentPair, _Pair, float]]] = defaultdict(list)
        for item in sorted(relevant, key=lambda item: -item[2]):
            waiting[item[0]].append(item)
        claims: defaultdict[DocumentPair, list[Claim]] = defaultdict(list)
        for _ in range(self._query.passage_pairs):
            reading = [items.pop(0) for items in waiting.values() if items]
            for key, found in (await self._claims(reading)).items():
                claims[key] += found
            waiting = defaultdict(
                list,
                {
                    key: items
                    for key, items in waiting.items()
                    if items and items[0][1].directed and not self._is_related(claims[key])
                },
            )
        return claims

    def _is_related(self, claims: Sequence[Claim]) -> bool:
        return any(
            claim.relation != self._query.no_relation and claim.confidence >= self._query.threshold for claim in claims
        )

    async def _claims(self, pairs: Sequence[tuple[DocumentPair, _Pair, float]]) -> dict[DocumentPair, list[Claim]]:
        """Classify pairs of passages: in both directions, unless a link gives the direction."""
        orders: list[tuple[int, int, int]] = []  # number of the pair, first passage, second passage
        for number, (_, pair, _) in enumerate(pairs):
            orders.append((number, pair.first, pair.second))
            if not pair.directed:
                orders.append((number, pair.second, pair.first))
        judged: defaultdict[int, list[tuple[DocumentPair, Judgement]]] = defaultdict(list)
        results = await _in_order(
            [partial(self._classified, some) for _, some in _batches(orders, _CLASSIFIED_AT_A_TIME)]
        )
        labels = list(self._query.relations)
        for (_, some), routed in zip(_batches(orders, _CLASSIFIED_AT_A_TIME), results, strict=True):
            self.counts.add(routed)
            for (number, first, second), scores in zip(some, routed.result.scores, strict=True):
                judgement = judgement_of(
                    self._passages[first], self._passages[second], labels, scores, relevance=pairs[number][2]
                )
                judged[number].append(((self._owners[first], self._owners[second]), judgement))
        self.counts.pairs_classified += len(pairs)
        claims: defaultdict[DocumentPair, list[Claim]] = defaultdict(list)
        for number, judgements in judged.items():
            key, pair, _ = pairs[number]
            relation = self._query.link_relation
            if pair.directed and relation is not None and self._are_code(key):
                claims[key] += [linked_claim(*judgements[0], relation)]
            else:
                claims[key] += claims_of(judgements, self._query.symmetric)
        return claims

    async def _classified(self, orders: Sequence[tuple[int, int, int]]) -> Routed[ClassifyResult]:
        request = ClassifyRequest(
            tuple(PairText(self._passages[first].read, self._passages[second].read) for _, first, second in orders),
            dict(self._query.relations),
            no_relation_label=self._query.no_relation,
            priority=self._query.priority,
            no_store=self._query.no_store,
            inputs_field="documents",
        )
        return await self._dispatcher.call(request)

    def _edges(self, claims: Sequence[Claim]) -> Iterator[GraphEdge]:
        """Merge the claims about one pair of documents into its edges, and count what is left out."""
        for group in strongest(claims, self._query.no_relation):
            best = group[0]
            if best.relation == self._query.no_relation and not self._query.include_unrelated:
                self.counts.unrelated_omitted += 1
            elif best.confidence < self._query.threshold:
                self.counts.below_threshold += 1
            else:
                source, target = best.documents if best.directed else sorted(best.documents)
                relevance = max((claim.judgement.relevance or 0.0 for claim in group), default=None)
                evidence = tuple(claim.judgement for claim in group[: self._query.passage_pairs])
                yield GraphEdge(source, target, best.relation, best.directed, best.confidence, relevance, evidence)


def _partners(query: GraphQuery) -> int:
    return query.per_document + _similar_partners(query)


def _similar_partners(query: GraphQuery) -> int:
    """Neighbours of a document that are read besides the linked ones."""
    return max(1, query.per_document // 4)


def _batches(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


async def _in_order(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    results = {index: result async for index, result in bounded_as_completed(calls, _PARALLEL_CALLS)}
    return [results[index] for index in range(len(calls))]
