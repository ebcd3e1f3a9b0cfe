"""Selects the candidates to classify, and names the relation of each edge. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trivet.messages import Floats


@dataclass(frozen=True, slots=True)
class Edge:
    """One classified pair, by the indices of its texts in the request."""

    source_index: int
    target_index: int
    relation: str
    confidence: float
    scores: Mapping[str, float]
    relevance: float | None
    windows: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Candidates to classify, best first, and counts of the others by reason."""

    indices: tuple[int, ...]
    below_min_relevance: int
    beyond_top_k: int


def keep_relevant(relevance: Floats, logits: Floats, *, top_k: int, min_relevance: float) -> Kept:
    """Choose the `top_k` best candidates of at least `min_relevance`.

    Args:
        relevance: (candidates,), 0..1; large logits are all 1.0.
        logits: (candidates,), which give the order; equal ones keep the request's.
        top_k: most candidates to keep.
        min_relevance: least relevance of one.
    """
    order = np.argsort(-logits, kind="stable")
    relevant = [int(index) for index in order if relevance[index] >= min_relevance]
    return Kept(
        indices=tuple(relevant[:top_k]),
        below_min_relevance=len(relevance) - len(relevant),
        beyond_top_k=max(0, len(relevant) - top_k),
    )


def edge_from_scores(
    source_index: int,
    target_index: int,
    labels: Sequence[str],
    scores: Floats,
    *,
    relevance: float | None,
    windows: int,
    truncated: bool,
) -> Edge:
    """Name the edge after its best label; `scores` are (labels,) and sum to 1."""
    best = int(scores.argmax())
    return Edge(
        source_index=source_index,
        target_index=target_index,
        relation=labels[best],
        confidence=float(scores[best]),
        scores={label: float(score) for label, score in zip(labels, scores, strict=True)},
        relevance=relevance,
        windows=windows,
        truncated=truncated,
    )
