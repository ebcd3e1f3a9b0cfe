"""The composed call: rerank candidates once, classify the pairs that are left, name the edges.

Composed here and nowhere else: models never call each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import remap_field_index
from trivet.messages import ClassifyRequest, ClassifyResult, LongInput, PairText, Priority, RerankRequest, RerankResult
from trivet.relations.edges import Edge, edge_from_scores, keep_relevant


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
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    no_store: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair to classify. `field` is the caller's field that held it, at `target_index`."""

    source_index: int
    target_index: int
    pair: PairText
    relevance: float | None
    field: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs to classify, counts of the omitted ones, and the rerank call behind it, if one was needed."""

    candidates: tuple[Candidate, ...]
    below_min_relevance: int = 0
    beyond_top_k: int = 0
    reranked: Routed[RerankResult] | None = None


def select_pairs(pairs: Sequence[PairText]) -> Selection:
    """Return all given pairs; this needs no call."""
    return Selection(tuple(Candidate(index, index, pair, None, "pairs") for index, pair in enumerate(pairs)))


async def select_candidates(
    dispatcher: Dispatcher, source: str, targets: Sequence[str], query: RelationQuery, *, top_k: int
) -> Selection:
    """Select the `top_k` targets most relevant to the source, by one rerank call."""
    reranked = await dispatcher.call(
        RerankRequest(
            source,
            tuple(targets),
            long_input=query.long_input,
            priority=query.priority,
            no_store=query.no_store,
            query_field="source",
            inputs_field="candidates",
        )
    )
    relevance = reranked.result.scores
    kept = keep_relevant(relevance, reranked.result.logits, top_k=top_k, min_relevance=query.min_relevance)
    candidates = tuple(
        Candidate(0, index, PairText(source, targets[index]), float(relevance[index]), "candidates")
        for index in kept.indices
    )
    return Selection(candidates, kept.below_min_relevance, kept.beyond_top_k, reranked)


async def classify(
    dispatcher: Dispatcher, candidates: Sequence[Candidate], query: RelationQuery
) -> tuple[list[Edge], Routed[ClassifyResult]]:
    """Make an edge for each candidate, by one call."""
    request = ClassifyRequest(
        tuple(candidate.pair for candidate in candidates),
        dict(query.relations),
        no_relation_label=query.no_relation,
        long_input=query.long_input,
        priority=query.priority,
        no_store=query.no_store,
        inputs_field=candidates[0].field,
    )
    with remap_field_index([candidate.target_index for candidate in candidates]):
        routed = await dispatcher.call(request)
    usage = routed.result.usage
    edges = [
        edge_from_scores(
            candidate.source_index,
            candidate.target_index,
            list(query.relations),
            scores,
            relevance=candidate.relevance,
            windows=usage.windows[index],
            truncated=usage.truncated[index],
        )
        for index, (candidate, scores) in enumerate(zip(candidates, routed.result.scores, strict=True))
    ]
    return edges, routed
