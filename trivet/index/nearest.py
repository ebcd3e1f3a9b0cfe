"""The rows of a table that are nearest to a vector, or to several. Pure, exact, by brute force."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.index.forms import Vectors, VectorTable

_ROWS_AT_A_TIME = 32
_BLOCK_ROWS = 4096
"""Rows of a table that are turned into floats at once: 6 MB at 384 dimensions."""


def top_rows(
    table: VectorTable, vector: Vectors, k: int, among: NDArray[np.int64] | None = None
) -> list[tuple[int, float]]:
    """(row, cosine) of the `k` best rows, best first; equal ones in order of their rows.

    Args:
        table: the rows.
        vector: (dimensions,), of length one.
        k: at least 1.
        among: the rows to choose from, ascending; None: all.
    """
    parts = [table.units(chosen) @ vector for chosen in _blocks(len(table) if among is None else among)]
    if not parts:
        return []
    scores = np.concatenate(parts)
    count = min(k, len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    rows = np.flatnonzero(scores >= least)
    ordered = rows[np.argsort(-scores[rows], kind="stable")][:count]
    return [(int(row if among is None else among[row]), float(scores[row])) for row in ordered]


def best_pairs(
    table: VectorTable, own: slice, starts: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """For each group of rows, the best pair of one of its rows and one of `own`: (cosine, own row, row).

    Args:
        table: the rows.
        own: rows, at least one.
        starts: where each group begins; each has at least one row, and the last ends with the table.
    """
    groups = np.asarray(starts)
    best = np.full(len(groups), -np.inf, np.float32)
    mine = np.zeros(len(groups), np.int64)
    theirs = np.zeros(len(groups), np.int64)
    for begin in range(own.start, own.stop, _ROWS_AT_A_TIME):
        asked = table.units(slice(begin, min(own.stop, begin + _ROWS_AT_A_TIME)))
        scores = np.concatenate([asked @ table.units(chosen).T for chosen in _blocks(len(table))], axis=1)
        highest = scores.max(axis=0)  # of each row of the table, over the rows of `own`
        peaks = np.maximum.reduceat(highest, groups)
        for group in np.flatnonzero(peaks > best):
            end = groups[group + 1] if group + 1 < len(groups) else len(table)
            row = groups[group] + int(highest[groups[group] : end].argmax())
            best[group], theirs[group], mine[group] = peaks[group], row, begin + int(scores[:, row].argmax())
    return best, mine, theirs


def _blocks(rows: int | NDArray[np.int64]) -> Iterator[slice | NDArray[np.int64]]:
    """All rows up to a number, or those of a list, so many at a time."""
    count = rows if isinstance(rows, int) else len(rows)
    for begin in range(0, count, _BLOCK_ROWS):
        if isinstance(rows, int):
            yield slice(begin, min(count, begin + _BLOCK_ROWS))
        else:
            yield rows[begin : begin + _BLOCK_ROWS]
