"""Finds the relations among many documents, and yields what it finds while it works.

Documents → passages → vectors → candidate pairs → relations → relevance → edges. Candidates are the nearest neighbours
of each passage, and the passages where one document uses what another defines; between code such a link is a relation
by itself, which no model reads. A pair of documents belongs to the one that comes first in the request; documents are
finished in that order. Memory is that of the texts, one vector per passage, and the chosen pairs.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.messages import EmbedRequest, EmbedResult, Floats
from trivet.relations.candidates import Budget, Candidates, candidates
from trivet.relations.claims import Claim, DocumentPair, strongest
from trivet.relations.division import Document, Excerpt, divide_all
from trivet.relations.nearest import unit
from trivet.relations.query import Counts, GraphQuery
from trivet.relations.reading import PairReader, batches
from trivet.relations.relevance import PARALLEL_CALLS

Stage = Literal["passages", "embed", "candidates", "rerank", "classify"]

_DIVIDED_AT_A_TIME = 16
_EMBEDDED_AT_A_TIME = 64
_DOCUMENTS_AT_A_TIME = 8
"""Documents whose pairs are read together: enough to fill forwards, few enough that edges come early."""


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
    evidence: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """All edges that leave this document have been yielded."""

    index: int


GraphEvent = Progress | GraphEdge | DocumentDone


def most_tokens(characters: int, documents: int, query: GraphQuery) -> int:
    """Return about the most tokens that a graph can take, from the size of its texts."""
    tokens = characters // 3
    if documents < 2:
        return tokens
    pairs = documents * min(_partners(query), documents - 1) * query.passage_pairs
    per_pair = 2 * min(query.passage_tokens, 1 + tokens // documents)
    readings = len(query.relations) + (query.clear_unrelated is not None)
    return tokens + pairs * per_pair * (1 + 2 * readings)


class GraphRun:
    """One run over a set of documents; `counts` is complete when `events` has ended."""

    def __init__(self, dispatcher: Dispatcher, documents: Sequence[Document], query: GraphQuery) -> None:
        self.counts = Counts()
        self._dispatcher = dispatcher
        self._documents = documents
        self._query = query

    async def events(self) -> AsyncGenerator[GraphEvent, None]:
        """Yield progress, edges and finished documents.

        Raises:
            TrivetError: a model failed; what was yielded before is right.
        """
        divided: list[tuple[Excerpt, ...]] = []
        for start, some in batches(self._documents, _DIVIDED_AT_A_TIME):
            divided += await divide_all(some, self._query.passage_tokens)
            yield Progress("passages", start + len(some), len(self._documents))
        passages = [passage for of_document in divided for passage in of_document]
        self.counts.passages = len(passages)
        vectors: list[Floats | None] = [None] * len(passages)
        done = 0
        async for start, some_vectors in self._embedded(passages):
            vectors[start : start + len(some_vectors)] = list(some_vectors)
            done += len(some_vectors)
            yield Progress("embed", done, len(passages))
        known = [vector for vector in vectors if vector is not None]
        matrix = unit(np.stack(known)) if known else np.zeros((0, 1), np.float32)  # every document was refused
        del vectors
        chosen = await asyncio.to_thread(
            candidates, self._documents, divided, matrix, _budget(self._query), self._query.link_relation
        )
        total = len(chosen.proven) + len(chosen.unproven)
        yield Progress("candidates", total, total)
        owners = [index for index, of_document in enumerate(divided) for _ in of_document]
        reader = PairReader(self._dispatcher, passages, owners, self._query, self.counts)
        async with aclosing(self._related(chosen, reader)) as related:
            async for event in related:
                yield event

    async def _embedded(self, passages: Sequence[Excerpt]) -> AsyncGenerator[tuple[int, Floats], None]:
        async def embed(start: int, some: Sequence[Excerpt]) -> tuple[int, Routed[EmbedResult]]:
            request = EmbedRequest(
                tuple(passage.read for passage in some),
                priority=self._query.priority,
                no_store=self._query.no_store,
                inputs_field="documents",
            )
            return start, await self._dispatcher.call(request)

        calls = [partial(embed, start, some) for start, some in batches(passages, _EMBEDDED_AT_A_TIME)]
        async for _, (start, routed) in bounded_as_completed(calls, PARALLEL_CALLS):
            self.counts.add(routed)
            yield start, routed.result.vectors

    async def _related(self, chosen: Candidates, reader: PairReader) -> AsyncGenerator[GraphEvent, None]:
        by_first: defaultdict[int, list[DocumentPair]] = defaultdict(list)
        for key in sorted(chosen.proven.keys() | chosen.unproven.keys()):
            if not set(key) <= self._query.done:
                by_first[key[0]].append(key)
        total = sum(map(len, by_first.values()))
        leaving: defaultdict[int, list[GraphEdge]] = defaultdict(list)
        done = 0
        for start, documents in batches(range(len(self._documents)), _DOCUMENTS_AT_A_TIME):
            keys = [key for index in documents for key in by_first[index]]
            unproven = {key: chosen.unproven[key] for key in keys if key in chosen.unproven}
            claims = await reader.claims(unproven)
            self.counts.pairs_imported += sum(key in chosen.proven for key in keys)
            done += len(keys)
            yield Progress("classify", done, total)
            found = [edge for key in keys for edge in self._edges([*chosen.proven.get(key, ()), *claims.get(key, ())])]
            for edge in await self._relevant(found, reader):
                leaving[edge.source].append(edge)
            yield Progress("rerank", done, total)
            for index in range(start, start + len(documents)):
                if index in self._query.done:
                    continue
                best = sorted(leaving.pop(index, []), key=lambda edge: -edge.confidence)
                self.counts.beyond_per_document += max(0, len(best) - self._query.per_document)
                for edge in best[: self._query.per_document]:
                    self.counts.edges += 1
                    yield edge
                yield DocumentDone(index)

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
                evidence = tuple(group[: self._query.passage_pairs])
                yield GraphEdge(source, target, best.relation, best.directed, best.confidence, None, evidence)

    async def _relevant(self, edges: Sequence[GraphEdge], reader: PairReader) -> list[GraphEdge]:
        """Score the passages that show edges, and leave out edges of too little relevance. An import has none.

        Only edges are scored: most pairs of passages that are read show none.
        """
        read = [claim for edge in edges for claim in edge.evidence if claim.cosine is not None]
        scores = iter(await reader.relevance(read))
        relevant: list[GraphEdge] = []
        for edge in edges:
            evidence = tuple(
                claim if claim.cosine is None else replace(claim, relevance=next(scores)) for claim in edge.evidence
            )
            best = max((claim.relevance for claim in evidence if claim.relevance is not None), default=None)
            if best is not None and best < self._query.min_relevance:
                self.counts.below_min_relevance += 1
            else:
                relevant.append(replace(edge, relevance=best, evidence=evidence))
        return relevant


def _budget(query: GraphQuery) -> Budget:
    return Budget(query.neighbours, query.passage_pairs, query.per_document, _similar_partners(query))


def _partners(query: GraphQuery) -> int:
    return query.per_document + _similar_partners(query)


def _similar_partners(query: GraphQuery) -> int:
    """Neighbours of a document that are read besides the linked ones."""
    return max(1, query.per_document // 4)
