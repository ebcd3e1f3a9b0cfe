"""The rows of a matrix that are nearest to a vector, or to several. Pure, exact, by brute force."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.index.file import Vectors

_ROWS_AT_A_TIME = 32


def top_rows(
    matrix: Vectors, vector: Vectors, k: int, among: NDArray[np.int64] | None = None
) -> list[tuple[int, float]]:
    """(row, cosine) of the `k` best rows, best first; equal ones in order of their rows.

    Args:
        matrix: (rows, dimensions), of length one each.
        vector: (dimensions,), of length one.
        k: at least 1.
        among: the rows to choose from, ascending; None: all.
    """
    scores = (matrix if among is None else matrix[among]) @ vector
    count = min(k, len(scores))
    if count == 0:
        return []
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    rows = np.flatnonzero(scores >= least)
    ordered = rows[np.argsort(-scores[rows], kind="stable")][:count]
    return [(int(row if among is None else among[row]), float(scores[row])) for row in ordered]


def best_pairs(
    matrix: Vectors, own: slice, starts: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """For each group of rows, the best pair of one of its rows and one of `own`: (cosine, own row, row).

    Args:
        matrix: (rows, dimensions), of length one each.
        own: rows, at least one.
        starts: where each group begins; each has at least one row, and the last ends with the matrix.
    """
    groups = np.asarray(starts)
    best = np.full(len(groups), -np.inf, np.float32)
    mine = np.zeros(len(groups), np.int64)
    theirs = np.zeros(len(groups), np.int64)
    for begin in range(own.start, own.stop, _ROWS_AT_A_TIME):
        scores = matrix[begin : min(own.stop, begin + _ROWS_AT_A_TIME)] @ matrix.T
        highest = scores.max(axis=0)  # of each row of the matrix, over the rows of `own`
        peaks = np.maximum.reduceat(highest, groups)
        for group in np.flatnonzero(peaks > best):
            end = groups[group + 1] if group + 1 < len(groups) else len(matrix)
            row = groups[group] + int(highest[groups[group] : end].argmax())
            best[group], theirs[group], mine[group] = peaks[group], row, begin + int(scores[:, row].argmax())
    return best, mine, theirs
