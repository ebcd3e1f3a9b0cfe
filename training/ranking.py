"""Ranking metrics of one ordered candidate list, and their means. Pure."""

from collections.abc import Sequence

import numpy as np


def average_precision(scores: Sequence[float], relevant: frozenset[int]) -> float:
    """Mean of the precision at each relevant candidate, by descending score; ties keep the given order."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.isin(order, list(relevant))
    precision = np.cumsum(hits) / np.arange(1, len(order) + 1)
    return float(precision[hits].mean()) if hits.any() else 0.0


def reciprocal_rank(scores: Sequence[float], relevant: frozenset[int]) -> float:
    """1 / rank of the first relevant candidate, 0 when there is none."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.flatnonzero(np.isin(order, list(relevant)))
    return 1.0 / (1 + float(hits[0])) if hits.size else 0.0
