"""Quality metrics. Pure; scikit-learn computes those that it offers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, ndcg_score

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]

NDCG_DEPTH = 10


def ndcg(scores: Scores, relevant: Flags) -> float:
    """Compute the normalised discounted cumulative gain at 10; ties share their gains.  # both (N,)"""
    if len(scores) == 1:
        return float(relevant[0])  # scikit-learn rejects a ranking of one
    return float(ndcg_score(relevant[None, :].astype(float), scores[None, :], k=NDCG_DEPTH))


def average_precision(scores: Scores, relevant: Flags) -> float:
    """Compute the mean precision at the ranks of the relevant documents; ties share one rank.  # both (N,)"""
    return float(average_precision_score(relevant, scores))


def reciprocal_rank(scores: Scores, relevant: Flags) -> float:
    """Compute 1 / rank of the first relevant document, which comes last among ties; 0 without one.  # both (N,)"""
    if not relevant.any():
        return 0.0
    best = scores[relevant].max()
    return float(1.0 / ((scores > best).sum() + (scores[~relevant] == best).sum() + 1))


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Compute the share of correct predictions."""
    return float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Compute the mean F1 of the labels in `gold`; predicting a label that is not in it still costs recall."""
    return float(f1_score(gold, predicted, labels=sorted(set(gold)), average="macro", zero_division=0.0))


def calibration_error(confidence: Scores, right: Flags, bins: int = 10) -> float:
    """Compute the expected calibration error over `bins` confidence intervals of equal width.  # both (N,)

    It is the mean gap between confidence and accuracy, weighted by the answers per interval. 0 means that the
    confidence matches the accuracy, for example that 80 % of the answers with a confidence of 0.8 are right.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.zeros(bins)
    np.add.at(gaps, bin_of, confidence - right)
    return float(np.abs(gaps).sum() / len(confidence))


def reciprocal_rank_fusion(*rankings: Scores) -> Scores:
    """Fuse several rankings, each given by its scores, into one score per document.  # each (N,) -> (N,)

    A document's score is the sum of 1 / (60 + rank) over the rankings. Ranks start at 1, and ties share the better
    rank. Method and constant are from Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", 2009.
    """
    fused = np.zeros(len(rankings[0]))
    for scores in rankings:
        better = len(scores) - np.searchsorted(np.sort(scores), scores, side="right")  # (N,)
        fused += 1 / (60 + 1 + better)
    return fused
