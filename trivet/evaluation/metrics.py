"""Figures of quality. Pure; scikit-learn computes what it has."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, ndcg_score

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]

NDCG_DEPTH = 10


def ndcg(scores: Scores, relevant: Flags) -> float:
    """Normalised discounted cumulative gain of the first ten; equal scores share their gains.  # both (N,)"""
    if len(scores) == 1:
        return float(relevant[0])  # scikit-learn has no ranking of one
    return float(ndcg_score(relevant[None, :].astype(float), scores[None, :], k=NDCG_DEPTH))


def average_precision(scores: Scores, relevant: Flags) -> float:
    """Mean over the relevant ones of the precision at their rank; equal scores come at once.  # both (N,)"""
    return float(average_precision_score(relevant, scores))


def reciprocal_rank(scores: Scores, relevant: Flags) -> float:
    """One over the rank of the first relevant one; of equal scores it is the last.  # both (N,)"""
    if not relevant.any():
        return 0.0
    best = scores[relevant].max()
    return float(1.0 / ((scores > best).sum() + (scores[~relevant] == best).sum() + 1))


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of the predictions that are right."""
    return float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean of the F1 of the labels that occur in `gold`; a wrong guess of another label still costs recall."""
    return float(f1_score(gold, predicted, labels=sorted(set(gold)), average="macro", zero_division=0.0))


def calibration_error(confidence: Scores, right: Flags, bins: int = 10) -> float:
    """Expected calibration error: the gap between confidence and frequency, by bins of equal width.  # both (N,)

    Each bin counts by how much is in it. 0 means that of the answers given with 0.8, eight in ten are right.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.zeros(bins)
    np.add.at(gaps, bin_of, confidence - right)
    return float(np.abs(gaps).sum() / len(confidence))


def reciprocal_rank_fusion(*rankings: Scores) -> Scores:
    """Scores that give the order of several rankings together, each given by its scores.  # each (N,) -> (N,)

    The sum of 1 / (60 + rank), the best ranked 1; equal scores share the better rank. From Cormack, Clarke and
    Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", 2009, with their 60.
    """
    fused = np.zeros(len(rankings[0]))
    for scores in rankings:
        better = len(scores) - np.searchsorted(np.sort(scores), scores, side="right")  # (N,)
        fused += 1 / (60 + 1 + better)
    return fused
