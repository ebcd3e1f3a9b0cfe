"""Scores how relevant second passages are to first ones: one rerank call for each first passage."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import remap_field_index
from trivet.messages import LongInput, Priority, RerankRequest, RerankResult

PARALLEL_CALLS = 4
"""Calls that one request may have in flight."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two passages to score."""

    first: str
    second: str
    target: int
    """Position of the second one's text in the caller's field, for errors."""
    cosine: float | None
    """Of their vectors; None where no vectors were needed to choose them."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """What the reranker says about a pair."""

    logit: float
    score: float


async def score_pairs(
    dispatcher: Dispatcher,
    pairs: Sequence[TextPair],
    *,
    query_field: str,
    inputs_field: str,
    priority: Priority,
    no_store: bool,
    long_input: LongInput = "window",
) -> tuple[list[Relevance], list[Routed[RerankResult]]]:
    """Return the relevance of each pair, and the calls. Known cosines are passed on: a blended score needs them."""
    by_first: defaultdict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        by_first[pair.first].append(number)

    async def rerank(first: str, numbers: Sequence[int]) -> tuple[Sequence[int], Routed[RerankResult]]:
        cosines = [cosine for number in numbers if (cosine := pairs[number].cosine) is not None]
        request = RerankRequest(
            first,
            tuple(pairs[number].second for number in numbers),
            long_input=long_input,
            priority=priority,
            no_store=no_store,
            query_field=query_field,
            inputs_field=inputs_field,
            similarities=tuple(cosines) if len(cosines) == len(numbers) else None,
        )
        with remap_field_index([pairs[number].target for number in numbers]):
            return numbers, await dispatcher.call(request)

    found: dict[int, Relevance] = {}
    calls: list[Routed[RerankResult]] = []
    work = [partial(rerank, first, numbers) for first, numbers in by_first.items()]
    async for _, (numbers, routed) in bounded_as_completed(work, PARALLEL_CALLS):
        calls.append(routed)
        for number, logit, score in zip(numbers, routed.result.logits, routed.result.scores, strict=True):
            found[number] = Relevance(float(logit), float(score))
    return [found[number] for number in range(len(pairs))], calls
