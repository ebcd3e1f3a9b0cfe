"""Exact search over passages."""

import numpy as np
import pytest

from trivet.relations import nearest
from trivet.relations.nearest import best_pairs, neighbours, unit


def vectors(count: int) -> np.ndarray:
    return unit(np.random.default_rng(18).standard_normal((count, 8)).astype(np.float32))


def test_unit_vectors_and_zeros() -> None:
    scaled = unit(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0.0, 0.0]])


def test_best_pairs_are_those_of_the_whole_matrix() -> None:
    first, second = vectors(5), vectors(9)[2:]
    pairs = best_pairs(first, second, 4)
    cosines = first @ second.T
    assert [round(pair.cosine, 5) for pair in pairs] == [round(float(c), 5) for c in np.sort(cosines.ravel())[::-1][:4]]
    assert all(cosines[pair.first, pair.second] == pytest.approx(pair.cosine) for pair in pairs)
    assert len(best_pairs(first, second, 100)) == 35


@pytest.mark.parametrize("block_scores", [1, 50, 10_000])
def test_neighbours_are_of_other_documents(monkeypatch: pytest.MonkeyPatch, block_scores: int) -> None:
    monkeypatch.setattr(nearest, "_BLOCK_SCORES", block_scores)
    of = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]
    points = vectors(10)
    found = [pair for block in neighbours(points, of, 3) for pair in block]
    cosines = points @ points.T
    for row in range(10):
        others = [column for column in range(10) if of[column] != of[row]]
        expected = sorted(others, key=lambda column: -cosines[row, column])[:3]
        assert [pair.second for pair in found if pair.first == row] == expected


def test_a_single_document_has_no_neighbours() -> None:
    assert [pair for block in neighbours(vectors(3), [0, 0, 0], 5) for pair in block] == []
