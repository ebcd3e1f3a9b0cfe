"""The composed route: rerank candidates once, classify the kept pairs, name the edges.

Composed here and nowhere else: models never call each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from trivet.api.options import CallOptions
from trivet.api.schemas import CandidatesBody, PairsBody
from trivet.api.settings import ApiSettings
from trivet.dispatch.field_index import told_by_position
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.messages import ClassifyRequest, ClassifyResult, LongInput, PairText, Priority, RerankRequest, RerankResult
from trivet.relations.edges import Edge, edge_from_scores, keep_relevant


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about every pair, and how."""

    relations: Mapping[str, str]
    no_relation: str | None
    threshold: float
    """Edges of less confidence are left out."""
    min_relevance: float
    """Candidates of less relevance are not classified."""
    long_input: LongInput
    priority: Priority

    @classmethod
    def of(cls, body: CandidatesBody | PairsBody, options: CallOptions, settings: ApiSettings) -> Self:
        """The caller's own relations, or the configured ones with the label that means none of them."""
        return cls(
            relations=body.relations or settings.relations,
            no_relation=settings.no_relation if body.relations is None else None,
            threshold=_threshold(body, settings),
            min_relevance=_min_relevance(body, settings),
            long_input=body.long_input or options.long_input,
            priority=options.priority,
        )


def _threshold(body: CandidatesBody | PairsBody, settings: ApiSettings) -> float:
    if body.threshold is not None:
        return body.threshold
    # A confidence is a share among the relations asked for: what was measured for some says nothing of others.
    return settings.threshold if body.relations is None else 0.0


def _min_relevance(body: CandidatesBody | PairsBody, settings: ApiSettings) -> float:
    if isinstance(body, PairsBody) or body.min_relevance is None:
        return settings.min_relevance
    return body.min_relevance


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair to classify. `param` is the field that held it."""

    source_index: int
    target_index: int
    pair: PairText
    relevance: float | None
    param: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs worth a look, what was left out, and the rerank call behind it, if one was needed."""

    candidates: tuple[Candidate, ...]
    below_min_relevance: int = 0
    beyond_top_k: int = 0
    reranked: Routed[RerankResult] | None = None


async def select(dispatcher: Dispatcher, body: CandidatesBody | PairsBody, asking: Asking) -> Selection:
    """Given pairs as they are; a source's candidates by relevance, with at most one model call."""
    if isinstance(body, PairsBody):
        return Selection(
            tuple(
                Candidate(index, index, PairText(pair.source, pair.target), None, "pairs")
                for index, pair in enumerate(body.pairs)
            )
        )
    reranked = await dispatcher.rerank(
        RerankRequest(
            body.source,
            tuple(body.candidates),
            long_input=asking.long_input,
            priority=asking.priority,
            params=("source", "candidates"),
        )
    )
    relevance = reranked.result.scores
    kept = keep_relevant(relevance, top_k=body.top_k, min_relevance=asking.min_relevance)
    candidates = tuple(
        Candidate(0, index, PairText(body.source, body.candidates[index]), float(relevance[index]), "candidates")
        for index in kept.indices
    )
    return Selection(candidates, kept.below_min_relevance, kept.beyond_top_k, reranked)


async def classify(
    dispatcher: Dispatcher, candidates: Sequence[Candidate], asking: Asking
) -> tuple[list[Edge], Routed[ClassifyResult]]:
    """An edge for each candidate, and the one call behind them."""
    request = ClassifyRequest(
        tuple(candidate.pair for candidate in candidates),
        dict(asking.relations),
        no_relation_label=asking.no_relation,
        long_input=asking.long_input,
        priority=asking.priority,
        param=candidates[0].param,
    )
    with told_by_position([candidate.target_index for candidate in candidates]):
        routed = await dispatcher.classify(request)
    usage = routed.result.usage
    edges = [
        edge_from_scores(
            candidate.source_index,
            candidate.target_index,
            list(asking.relations),
            scores,
            relevance=candidate.relevance,
            windows=usage.windows[index],
            truncated=usage.truncated[index],
        )
        for index, (candidate, scores) in enumerate(zip(candidates, routed.result.scores, strict=True))
    ]
    return edges, routed
