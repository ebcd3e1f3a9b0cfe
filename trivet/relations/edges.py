"""Selects the candidates to classify, and makes an edge of what the classifier says about passages. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trivet.messages import Floats
from trivet.relations.division import Excerpt

_SURE_SHARE = 0.9
"""Share of a relation from which a further reading, of other passages or the other way round, hardly changes it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the classifier says about one pair of passages."""

    source: Excerpt
    target: Excerpt
    scores: Mapping[str, float]
    """Share of each relation; they sum to 1. Where the absent one was read alone, it has that score, the others 0."""
    relevance: float | None
    windows: int = 1
    truncated: bool = False
    only: str | None = None
    """The only relation that may hold, whatever the shares of the others. None: any."""

    @property
    def relation(self) -> str:
        """The relation with the largest share, or the only one that may hold."""
        return self.only or max(self.scores, key=self.scores.__getitem__)

    @property
    def confidence(self) -> float:
        """Its share."""
        return self.scores[self.relation]


@dataclass(frozen=True, slots=True)
class Edge:
    """One related pair of texts, by their indices in the request."""

    source_index: int
    target_index: int
    relation: str
    confidence: float
    scores: Mapping[str, float]
    relevance: float | None
    windows: int
    truncated: bool
    evidence: tuple[Judgement, ...]
    """The pairs of passages that show the relation; the first one gave the scores."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Candidates to classify, best first, and counts of the others by reason."""

    indices: tuple[int, ...]
    below_min_relevance: int
    beyond_top_k: int


def is_clearly_unrelated(judgement: Judgement, no_relation: str | None) -> bool:
    """Whether further readings could hardly find a relation."""
    return judgement.relation == no_relation and judgement.confidence >= _SURE_SHARE


def is_enough(judgement: Judgement, no_relation: str | None, threshold: float) -> bool:
    """Whether further passages need not be read: they are clearly unrelated, or an edge is found.

    A threshold of 0 takes everything for an edge, so it does not count.
    """
    if judgement.relation == no_relation:
        return is_clearly_unrelated(judgement, no_relation)
    return judgement.confidence >= (threshold or _SURE_SHARE)


def keep_relevant(
    relevance: Floats, logits: Floats, *, top_k: int, min_relevance: float, certain: Collection[int] = ()
) -> Kept:
    """Choose the `top_k` best candidates of at least `min_relevance`.

    Args:
        relevance: (candidates,), 0..1; large logits are all 1.0.
        logits: (candidates,), which give the order; equal ones keep the request's.
        top_k: most candidates to keep.
        min_relevance: least relevance of one.
        certain: candidates whose relation is known; they come first, however relevant they are.
    """
    order = sorted(np.argsort(-logits, kind="stable").tolist(), key=lambda index: index not in certain)
    relevant = [index for index in order if index in certain or relevance[index] >= min_relevance]
    return Kept(
        indices=tuple(relevant[:top_k]),
        below_min_relevance=len(relevance) - len(relevant),
        beyond_top_k=max(0, len(relevant) - top_k),
    )


def edge_of(
    source_index: int,
    target_index: int,
    judgements: Sequence[Judgement],
    *,
    no_relation: str | None,
    relevance: float | None,
) -> Edge:
    """Make the edge of a pair of texts from the judgements on its passages, at least one.

    The pair of passages that shows a relation most clearly speaks for the texts. Only where none shows any is there no
    relation between them; then the most relevant pair, the first one, speaks.
    """
    related = [judgement for judgement in judgements if judgement.relation != no_relation]
    speaker = max(related, key=lambda judgement: judgement.confidence) if related else judgements[0]
    others = [other for other in judgements if other is not speaker and other.relation == speaker.relation]
    return Edge(
        source_index=source_index,
        target_index=target_index,
        relation=speaker.relation,
        confidence=speaker.confidence,
        scores=speaker.scores,
        relevance=relevance,
        windows=sum(judgement.windows for judgement in judgements),
        truncated=any(judgement.truncated for judgement in judgements),
        evidence=(speaker, *sorted(others, key=lambda other: -other.confidence)),
    )


def judgement_of(
    source: Excerpt,
    target: Excerpt,
    labels: Sequence[str],
    scores: Floats,
    *,
    relevance: float | None,
    windows: int = 1,
    truncated: bool = False,
    only: str | None = None,
) -> Judgement:
    """Name the scores, (labels,), of one pair of passages."""
    named = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return Judgement(source, target, named, relevance, windows, truncated, only)
