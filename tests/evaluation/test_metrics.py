"""Metrics against values computed by hand, and against plain implementations of their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trivet.evaluation.metrics import (
    accuracy,
    average_precision,
    calibration_error,
    macro_f1,
    ndcg,
    reciprocal_rank,
    reciprocal_rank_fusion,
)

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5])


def flags(*relevant: int, of: int = 5) -> np.ndarray:
    return np.isin(np.arange(of), relevant)


@pytest.mark.parametrize(
    ("relevant", "gain", "precision", "rank"),
    [
        ((0,), 1.0, 1.0, 1.0),
        ((1,), 1 / math.log2(3), 1 / 2, 1 / 2),
        ((4,), 1 / math.log2(6), 1 / 5, 1 / 5),
        (
            (0, 2),
            (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3)),
            (1 + 2 / 3) / 2,
            1.0,
        ),
    ],
)
def test_rankings_by_hand(relevant: tuple[int, ...], gain: float, precision: float, rank: float) -> None:
    assert ndcg(SCORES, flags(*relevant)) == pytest.approx(gain)
    assert average_precision(SCORES, flags(*relevant)) == pytest.approx(precision)
    assert reciprocal_rank(SCORES, flags(*relevant)) == pytest.approx(rank)


def test_ndcg_reads_the_first_ten() -> None:
    scores = -np.arange(20.0)
    assert ndcg(scores, flags(9, of=20)) == pytest.approx(1 / math.log2(11))
    assert ndcg(scores, flags(10, of=20)) == 0.0


def test_ties_do_not_depend_on_the_order_of_the_file() -> None:
    """A model that gives all documents the same score gets no credit for their order."""
    same = np.zeros(4)
    assert reciprocal_rank(same, flags(0, of=4)) == 1 / 4
    assert average_precision(same, flags(0, of=4)) == pytest.approx(1 / 4)
    assert ndcg(same, flags(0, of=4)) == pytest.approx(ndcg(same, flags(3, of=4)))


def test_a_ranking_of_one() -> None:
    assert ndcg(np.array([0.3]), flags(0, of=1)) == 1.0
    assert reciprocal_rank(np.array([0.3]), flags(0, of=1)) == 1.0


@given(arrays(float, 12, elements=st.floats(-5, 5), unique=True), st.sets(st.integers(0, 11), min_size=1))
def test_metrics_follow_their_definitions(scores: np.ndarray, relevant: set[int]) -> None:
    order = sorted(range(12), key=lambda i: -scores[i])
    ranks = [rank for rank, index in enumerate(order, start=1) if index in relevant]
    precision = sum(hits / rank for hits, rank in enumerate(ranks, start=1)) / len(ranks)
    gain = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= 10)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(ranks)) + 1))
    assert average_precision(scores, flags(*relevant, of=12)) == pytest.approx(precision)
    assert reciprocal_rank(scores, flags(*relevant, of=12)) == pytest.approx(1 / ranks[0])
    assert ndcg(scores, flags(*relevant, of=12)) == pytest.approx(gain / best)


def test_labels_by_hand() -> None:
    gold = ["a", "a", "a", "b", "b", "c"]
    given = ["a", "a", "b", "b", "c", "d"]
    assert accuracy(gold, given) == pytest.approx(3 / 6)
    f1_of_a = 2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3)
    f1_of_b = 2 * (1 / 2) * (1 / 2) / (1 / 2 + 1 / 2)
    assert macro_f1(gold, given) == pytest.approx((f1_of_a + f1_of_b + 0.0) / 3)


def test_calibration_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, False, True, True])
    assert calibration_error(confidence, right) == pytest.approx(0.5 * (0.95 - 0.5) + 0.5 * (1.0 - 0.55))
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == pytest.approx(0.0)


def test_ranks_are_fused_as_published() -> None:
    fused = reciprocal_rank_fusion(np.array([0.9, 0.1, 0.5]), np.array([2.0, 3.0, 2.0]))
    assert fused.tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62 + 1 / 62])


@given(arrays(np.float64, 7, elements=st.floats(-10, 10)))
def test_a_ranking_fused_with_itself_keeps_its_order(scores: np.ndarray) -> None:
    fused = reciprocal_rank_fusion(scores, scores)
    assert ((fused[:, None] > fused[None, :]) == (scores[:, None] > scores[None, :])).all()
