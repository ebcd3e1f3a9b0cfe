"""The composed call: find the pairs of passages that matter, rerank and classify them, and name the edges.

Composed here and nowhere else: models never call each other. Where every text is a single passage, this is one rerank
call over the candidates and one classify call over the kept pairs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import remap_field_index
from trivet.messages import (
    ClassifyRequest,
    EmbedRequest,
    EngineResult,
    Floats,
    LongInput,
    PairText,
    Priority,
    RerankRequest,
)
from trivet.relations.division import Document, Excerpt, divide_all, whole
from trivet.relations.edges import Edge, Judgement, edge_of, judgement_of, keep_relevant
from trivet.relations.nearest import best_pairs, unit

PARALLEL_CALLS = 8
"""Rerank calls that one request may have in flight, each with one passage of the source."""


@dataclass(frozen=True, slots=True)
class RelationQuery:
    """Which relations to look for in every pair, and how to run the models."""

    relations: Mapping[str, str]
    """Label → hypothesis."""
    no_relation: str | None
    """The label that means that no other one holds; None where there is none."""
    min_relevance: float
    """Candidates of less relevance are not classified."""
    threshold: float
    """Edges of less confidence are omitted."""
    include_unrelated: bool = False
    """Whether pairs without a relation become edges, too."""
    passage_tokens: int | None = None
    """Texts are read by passages of so many tokens, as estimated. None: every window of a text meets every window of
    the other."""
    passage_pairs: int = 3
    """Most pairs of passages that are classified per pair of texts."""
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    no_store: bool = False


@dataclass(frozen=True, slots=True)
class PassageCandidate:
    """Two passages to classify."""

    source: Excerpt
    target: Excerpt
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two texts to classify by their passages. `field` is the caller's field that held them, at `target_index`."""

    source_index: int
    target_index: int
    pairs: tuple[PassageCandidate, ...]
    relevance: float | None
    field: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The texts to classify, counts of the omitted ones, and the calls behind it by stage."""

    candidates: tuple[Candidate, ...]
    below_min_relevance: int = 0
    beyond_top_k: int = 0
    calls: Mapping[str, Sequence[Routed[EngineResult]]] = field(default_factory=dict)


async def select_pairs(dispatcher: Dispatcher, pairs: Sequence[PairText], query: RelationQuery) -> Selection:
    """Return all given pairs. Long ones need a call that embeds their passages, which finds the best pairs of these."""
    sources = await _divided([pair.text for pair in pairs], query)
    targets = await _divided([pair.text_pair or "" for pair in pairs], query)
    long = [index for index in range(len(pairs)) if len(sources[index]) > 1 or len(targets[index]) > 1]
    texts = [excerpt.read for index in long for excerpt in (*sources[index], *targets[index])]
    vectors, calls = await _embedded(dispatcher, texts, query, "pairs")
    candidates: list[Candidate] = []
    at = 0
    for index in range(len(pairs)):
        source, target = sources[index], targets[index]
        chosen = [(0, 0)]
        if len(source) > 1 or len(target) > 1:
            middle, end = at + len(source), at + len(source) + len(target)
            found = best_pairs(vectors[at:middle], vectors[middle:end], query.passage_pairs)
            chosen = [(pair.first, pair.second) for pair in found]
            at = end
        of_pair = tuple(PassageCandidate(source[first], target[second]) for first, second in chosen)
        candidates.append(Candidate(index, index, of_pair, None, "pairs"))
    return Selection(tuple(candidates), calls={"embed": calls} if calls else {})


async def select_candidates(
    dispatcher: Dispatcher, source: str, targets: Sequence[str], query: RelationQuery, *, top_k: int
) -> Selection:
    """Select the `top_k` targets most relevant to the source: by the best pairs of their passages."""
    (of_source,) = await _divided([source], query)
    of_targets = await _divided(targets, query)
    chosen, embedded = await _nearest(dispatcher, of_source, of_targets, query)
    scored, reranked = await _reranked(dispatcher, of_source, of_targets, chosen, query)
    best = [max(pairs, key=lambda pair: pair.logit) for pairs in scored]
    relevance = np.array([pair.relevance for pair in best], dtype=np.float32)
    logits = np.array([pair.logit for pair in best], dtype=np.float32)
    kept = keep_relevant(relevance, logits, top_k=top_k, min_relevance=query.min_relevance)
    candidates = tuple(
        Candidate(
            0,
            index,
            tuple(
                PassageCandidate(of_source[pair.first], of_targets[index][pair.second], pair.relevance)
                for pair in sorted(scored[index], key=lambda pair: -pair.logit)
            ),
            float(relevance[index]),
            "candidates",
        )
        for index in kept.indices
    )
    calls = {"embed": embedded, "rerank": reranked} if embedded else {"rerank": reranked}
    return Selection(candidates, kept.below_min_relevance, kept.beyond_top_k, calls)


async def classify(
    dispatcher: Dispatcher, candidates: Sequence[Candidate], query: RelationQuery
) -> tuple[list[Edge], Routed[EngineResult]]:
    """Make an edge for each candidate, by one call."""
    pairs = [(number, pair) for number, candidate in enumerate(candidates) for pair in candidate.pairs]
    request = ClassifyRequest(
        tuple(PairText(pair.source.read, pair.target.read) for _, pair in pairs),
        dict(query.relations),
        no_relation_label=query.no_relation,
        long_input=query.long_input,
        priority=query.priority,
        no_store=query.no_store,
        inputs_field=candidates[0].field,
    )
    with remap_field_index([candidates[number].target_index for number, _ in pairs]):
        routed = await dispatcher.call(request)
    usage = routed.result.usage
    labels = list(query.relations)
    judged: defaultdict[int, list[Judgement]] = defaultdict(list)
    for index, (number, pair) in enumerate(pairs):
        judged[number].append(
            judgement_of(
                pair.source,
                pair.target,
                labels,
                routed.result.scores[index],
                relevance=pair.relevance,
                windows=usage.windows[index],
                truncated=usage.truncated[index],
            )
        )
    edges = [
        edge_of(
            candidate.source_index,
            candidate.target_index,
            judged[number],
            no_relation=query.no_relation,
            relevance=candidate.relevance,
        )
        for number, candidate in enumerate(candidates)
    ]
    return edges, routed


async def _divided(texts: Sequence[str], query: RelationQuery) -> list[tuple[Excerpt, ...]]:
    if query.passage_tokens is None:
        return [(whole(text),) for text in texts]
    return await divide_all([Document(text) for text in texts], query.passage_tokens)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A pair of passages to rerank, by their positions in their texts."""

    first: int
    second: int
    cosine: float | None
    """None where no vectors were needed to choose it."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """A pair of passages, by their positions in their texts."""

    first: int
    second: int
    logit: float
    relevance: float


async def _nearest(
    dispatcher: Dispatcher, source: Sequence[Excerpt], targets: Sequence[Sequence[Excerpt]], query: RelationQuery
) -> tuple[list[list[_Chosen]], list[Routed[EngineResult]]]:
    """Return the pairs of passages to rerank for each target, and the call that was needed to find them."""
    if all(len(source) * len(target) <= query.passage_pairs for target in targets):
        return [[_Chosen(i, j, None) for i in range(len(source)) for j in range(len(target))] for target in targets], []
    texts = [excerpt.read for excerpt in source] + [excerpt.read for target in targets for excerpt in target]
    vectors, calls = await _embedded(dispatcher, texts, query, "candidates")
    chosen: list[list[_Chosen]] = []
    at = len(source)
    for target in targets:
        found = best_pairs(vectors[: len(source)], vectors[at : at + len(target)], query.passage_pairs)
        chosen.append([_Chosen(pair.first, pair.second, pair.cosine) for pair in found])
        at += len(target)
    return chosen, calls


async def _reranked(
    dispatcher: Dispatcher,
    source: Sequence[Excerpt],
    targets: Sequence[Sequence[Excerpt]],
    chosen: Sequence[Sequence[_Chosen]],
    query: RelationQuery,
) -> tuple[list[list[_Scored]], list[Routed[EngineResult]]]:
    """Score the chosen pairs of each target: one call per passage of the source that occurs in them."""
    by_first: defaultdict[int, list[tuple[int, _Chosen]]] = defaultdict(list)  # passage of the source → (target, pair)
    for index, pairs in enumerate(chosen):
        for pair in pairs:
            by_first[pair.first].append((index, pair))

    async def rerank(first: int, documents: Sequence[tuple[int, _Chosen]]) -> Routed[EngineResult]:
        cosines = [pair.cosine for _, pair in documents if pair.cosine is not None]
        request = RerankRequest(
            source[first].read,
            tuple(targets[index][pair.second].read for index, pair in documents),
            long_input=query.long_input,
            priority=query.priority,
            no_store=query.no_store,
            query_field="source",
            inputs_field="candidates",
            similarities=tuple(cosines) if len(cosines) == len(documents) else None,
        )
        with remap_field_index([index for index, _ in documents]):
            routed = await dispatcher.call(request)
        for (index, pair), logit, score in zip(documents, routed.result.logits, routed.result.scores, strict=True):
            scored[index].append(_Scored(first, pair.second, float(logit), float(score)))
        return routed

    scored: list[list[_Scored]] = [[] for _ in targets]
    work = [partial(rerank, first, documents) for first, documents in sorted(by_first.items())]
    return scored, [routed async for _, routed in bounded_as_completed(work, PARALLEL_CALLS)]


async def _embedded(
    dispatcher: Dispatcher, texts: Sequence[str], query: RelationQuery, inputs_field: str
) -> tuple[Floats, list[Routed[EngineResult]]]:
    """Return unit vectors, (texts, d), and the call that made them; no call for no text."""
    if not texts:
        return np.empty((0, 0), dtype=np.float32), []
    request = EmbedRequest(tuple(texts), priority=query.priority, no_store=query.no_store, inputs_field=inputs_field)
    routed = await dispatcher.call(request)
    return unit(routed.result.vectors), [routed]
