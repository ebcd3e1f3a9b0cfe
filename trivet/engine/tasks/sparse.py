"""Sparse weights of texts: from numbers of tokens (bge-m3), or from numbers of sequences (SPLADE)."""

from collections.abc import Sequence

import numpy as np

from trivet.engine.text.tokenizer import Ids
from trivet.messages import Floats, SparseVector


def above_zero(weights: Floats) -> Floats:
    """Return (2, entries): indices and values of the weights above 0, out of (vocabulary,). Indices stay exact."""
    [indices] = np.nonzero(weights > 0)
    return np.stack([indices.astype(np.float32), weights[indices]])


def largest_of_entries(windows: Sequence[Floats]) -> SparseVector:
    """Join what `above_zero` made of one text's windows: of each index, the largest value."""
    joined = np.concatenate(windows, axis=1)  # (2, entries)
    return largest_by_id(joined[0].astype(np.int32), joined[1])


def largest_by_id(ids: Ids, weights: Floats) -> SparseVector:
    """Return, of each id, its largest weight; those that are 0 are left out.

    Args:
        ids: (tokens,).
        weights: (tokens,), from 0 on.
    """
    indices, where = np.unique(ids, return_inverse=True)
    values = np.zeros(len(indices), np.float32)
    np.maximum.at(values, where, weights)
    above = values > 0
    return SparseVector(indices[above].astype(np.int32), values[above])
