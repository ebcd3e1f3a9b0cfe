"""The composed route: rerank candidates once, classify the kept pairs once, name the edges.

Composed here and nowhere else: models never call each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trivet.api.dispatcher import Dispatcher, Routed
from trivet.api.schemas import RelationsBody
from trivet.messages import ClassifyRequest, ClassifyResult, PairText, RerankRequest, RerankResult
from trivet.relations import Edge, Kept, edge_from_scores, keep_relevant

DEFAULT_TOP_K = 16


@dataclass(frozen=True, slots=True)
class Related:
    """Edges, what was left out on the way, and the model calls behind them. A call that was not needed is None."""

    edges: tuple[Edge, ...]
    below_min_relevance: int
    beyond_top_k: int
    below_threshold: int
    reranked: Routed[RerankResult] | None
    classified: Routed[ClassifyResult] | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    source_index: int
    target_index: int
    pair: PairText
    relevance: float | None


async def relate(
    dispatcher: Dispatcher, body: RelationsBody, relations: Mapping[str, str], absent_relation: str | None
) -> Related:
    """Answer a relations request with at most one call per model."""
    reranked: Routed[RerankResult] | None = None
    kept = Kept((), 0, 0)
    if body.source is not None and body.candidates is not None:
        request = RerankRequest(
            body.source, tuple(body.candidates), long_input=body.long_input, params=("source", "candidates")
        )
        reranked = await dispatcher.rerank(request)
        relevance = reranked.result.scores
        kept = keep_relevant(relevance, top_k=body.top_k or DEFAULT_TOP_K, min_relevance=body.min_relevance)
        candidates = [
            _Candidate(0, index, PairText(body.source, body.candidates[index]), float(relevance[index]))
            for index in kept.indices
        ]
    else:
        candidates = [
            _Candidate(index, index, PairText(pair.source, pair.target), None)
            for index, pair in enumerate(body.pairs or ())
        ]
    if not candidates:
        return Related((), kept.below_min_relevance, kept.beyond_top_k, 0, reranked, None)
    labels = list(relations)
    classified = await dispatcher.classify(
        ClassifyRequest(
            tuple(candidate.pair for candidate in candidates),
            dict(relations),
            absent_label=absent_relation,
            long_input=body.long_input,
            param="pairs" if body.pairs else "candidates",
        )
    )
    usage = classified.result.usage
    edges = [
        edge_from_scores(
            candidate.source_index,
            candidate.target_index,
            labels,
            scores,
            relevance=candidate.relevance,
            windows=usage.windows[index],
            truncated=usage.truncated[index],
        )
        for index, (candidate, scores) in enumerate(zip(candidates, classified.result.scores, strict=True))
    ]
    confident = tuple(edge for edge in edges if edge.confidence >= body.threshold)
    return Related(
        edges=confident,
        below_min_relevance=kept.below_min_relevance,
        beyond_top_k=kept.beyond_top_k,
        below_threshold=len(edges) - len(confident),
        reranked=reranked,
        classified=classified,
    )
