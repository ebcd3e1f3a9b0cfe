"""Finds the passages that are nearest to each other, by exact search. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.messages import Floats

_BLOCK_SCORES = 2_000_000
"""Cosines in memory at a time: 8 MB."""


@dataclass(frozen=True, slots=True)
class PassagePair:
    """Two passages by their positions, and the cosine of their vectors."""

    first: int
    second: int
    cosine: float


def unit(vectors: Floats) -> Floats:
    """Scale (n, d) vectors to length 1; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return scaled


def best_pairs(first: Floats, second: Floats, count: int) -> list[PassagePair]:
    """Return the `count` most similar pairs of a first and a second passage, best first.

    Args:
        first: (n, d) unit vectors.
        second: (m, d) unit vectors.
        count: most pairs to return.
    """
    cosines = (first @ second.T).ravel()  # (n * m,)
    order = np.argsort(-cosines, kind="stable")[:count]
    return [PassagePair(*divmod(int(at), len(second)), float(cosines[at])) for at in order]


def neighbours(vectors: Floats, owners: Sequence[int], count: int) -> Iterator[list[PassagePair]]:
    """Yield, a block of passages at a time, the `count` nearest passages of other owners, best first for each passage.

    Memory is that of the vectors plus 8 MB, whatever the number of passages.

    Args:
        vectors: (n, d) unit vectors.
        owners: the document of each passage, in ascending order.
        count: most neighbours of a passage.
    """
    of = np.asarray(owners)
    rows = max(1, _BLOCK_SCORES // max(1, len(vectors)))
    for start in range(0, len(vectors), rows):
        stop = min(start + rows, len(vectors))
        cosines = vectors[start:stop] @ vectors.T  # (rows, n)
        cosines[of[start:stop, None] == of[None, :]] = -np.inf
        nearest = _largest(cosines, min(count, len(vectors)))
        yield [
            PassagePair(start + row, int(column), float(cosines[row, column]))
            for row, columns in enumerate(nearest)
            for column in columns
            if np.isfinite(cosines[row, column])
        ]


def _largest(scores: Floats, count: int) -> NDArray[np.intp]:
    """Return the columns of the `count` largest scores of each row, in descending order."""
    columns = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
