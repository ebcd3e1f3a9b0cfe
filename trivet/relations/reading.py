"""Reads pairs of passages: which relation holds between them, and how relevant the second is to the first."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher
from trivet.messages import ClassifyRequest, PairText
from trivet.relations.candidates import ReadingPair
from trivet.relations.claims import Claim, DocumentPair, claims_of, linked_claim
from trivet.relations.classifying import Classified, classify_pairs
from trivet.relations.division import Excerpt
from trivet.relations.edges import Judgement, is_clearly_unrelated, judgement_of
from trivet.relations.query import Counts, GraphQuery
from trivet.relations.relevance import PARALLEL_CALLS, TextPair, score_pairs

_CLASSIFIED_AT_A_TIME = 16
T = TypeVar("T")


class PairReader:
    """Reads the passages of one run."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        passages: Sequence[Excerpt],
        owners: Sequence[int],
        query: GraphQuery,
        counts: Counts,
    ) -> None:
        """Read `passages` of the documents `owners`; what is read and left out is added to `counts`."""
        self._dispatcher = dispatcher
        self._passages = passages
        self._owners = owners
        self._query = query
        self._counts = counts

    async def claims(self, pairs: Mapping[DocumentPair, Sequence[ReadingPair]]) -> dict[DocumentPair, list[Claim]]:
        """Classify the first passages of each pair of documents, and more only where a link promises a relation.

        Most pairs of documents have none, and reading is what costs.
        """
        claims: dict[DocumentPair, list[Claim]] = {key: [] for key in pairs}
        for number in range(self._query.passage_pairs):
            reading = [
                (key, of_documents[number])
                for key, of_documents in pairs.items()
                if len(of_documents) > number
                and (number == 0 or (of_documents[number].directed and not self._is_related(claims[key])))
            ]
            for key, claim in await self._claims(reading):
                claims[key].append(claim)
        return claims

    async def relevance(self, claims: Sequence[Claim]) -> list[float]:
        """Return how relevant the second passage of each claim is to the first: one call per first passage."""
        pairs = [TextPair(claim.source.read, claim.target.read, claim.documents[1], claim.cosine) for claim in claims]
        found, calls = await score_pairs(
            self._dispatcher,
            pairs,
            query_field="documents",
            inputs_field="documents",
            priority=self._query.priority,
            no_store=self._query.no_store,
        )
        for routed in calls:
            self._counts.add(routed)
        self._counts.pairs_reranked += len(claims)
        return [relevance.score for relevance in found]

    def _is_related(self, claims: Sequence[Claim]) -> bool:
        return any(
            claim.relation != self._query.no_relation and claim.confidence >= self._query.threshold for claim in claims
        )

    async def _claims(self, pairs: Sequence[tuple[DocumentPair, ReadingPair]]) -> list[tuple[DocumentPair, Claim]]:
        """Classify pairs of passages: once where a link gives the direction or the first reading finds no relation."""
        readings = await self._judged([(pair.first, pair.second) for _, pair in pairs])
        judged = [[reading] for reading in readings]
        open_pairs = [
            number
            for number, (_, pair) in enumerate(pairs)
            if not pair.directed and not is_clearly_unrelated(readings[number][1], self._query.no_relation)
        ]
        turned = await self._judged([(pairs[number][1].second, pairs[number][1].first) for number in open_pairs])
        for number, reading in zip(open_pairs, turned, strict=True):
            judged[number].append(reading)
        self._counts.pairs_classified += len(pairs)
        return [
            (key, replace(claim, cosine=pair.cosine))
            for (key, pair), judgements in zip(pairs, judged, strict=True)
            for claim in self._claimed(pair, judgements)
        ]

    def _claimed(self, pair: ReadingPair, judgements: Sequence[tuple[DocumentPair, Judgement]]) -> list[Claim]:
        if pair.relation is None:
            return claims_of(judgements, self._query.symmetric)
        return [linked_claim(*judgement, pair.relation) for judgement in judgements]

    async def _judged(self, orders: Sequence[tuple[int, int]]) -> list[tuple[DocumentPair, Judgement]]:
        """Classify (first passage, second passage)."""
        parts = [some for _, some in batches(orders, _CLASSIFIED_AT_A_TIME)]
        results = await _in_order([partial(self._classified, some) for some in parts])
        labels = list(self._query.relations)
        judged: list[tuple[DocumentPair, Judgement]] = []
        for some, classified in zip(parts, results, strict=True):
            for routed in classified.calls:
                self._counts.add(routed)
            for (first, second), scores in zip(some, classified.scores, strict=True):
                texts = self._passages[first], self._passages[second]
                judgement = judgement_of(*texts, labels, scores, relevance=None)
                judged.append(((self._owners[first], self._owners[second]), judgement))
        return judged

    async def _classified(self, orders: Sequence[tuple[int, int]]) -> Classified:
        request = ClassifyRequest(
            tuple(PairText(self._passages[first].read, self._passages[second].read) for first, second in orders),
            dict(self._query.relations),
            no_relation_label=self._query.no_relation,
            priority=self._query.priority,
            no_store=self._query.no_store,
            inputs_field="documents",
        )
        return await classify_pairs(self._dispatcher, request, self._query.clear_unrelated)


def batches(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Yield (position of the first, items), `size` at a time."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


async def _in_order(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    results = {index: result async for index, result in bounded_as_completed(calls, PARALLEL_CALLS)}
    return [results[index] for index in range(len(calls))]
