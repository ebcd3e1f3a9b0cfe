"""Which candidates of a relation request are classified."""

import numpy as np

from trivet.relations.edges import Kept, keep_relevant


def test_candidates_are_ordered_by_logits_where_all_relevances_are_one() -> None:
    logits = np.array([17.0, 25.0, -3.0, 20.0, 25.0], np.float32)
    relevance = (1 / (1 + np.exp(-logits))).astype(np.float32)
    relevance[[0, 1, 3, 4]] = 1.0  # what float32 makes of them
    assert keep_relevant(relevance, logits, top_k=2, min_relevance=0.5) == Kept((1, 4), 1, 2)
    assert keep_relevant(relevance, logits, top_k=9, min_relevance=0.0) == Kept((1, 4, 3, 0, 2), 0, 0)
