"""From which score two texts need no further reading."""

import asyncio
from typing import Any

import numpy as np

from research.relations.pairs import LABELS, Pair
from research.relations.unrelated_first import (
    UNRELATED,
    Readings,
    edges,
    figures,
    pick,
    read,
    with_first_reading,
)
from trivet.messages import ClassifyRequest, ClassifyResult, StageTimings, Usage


def readings(*rows: tuple[str, str, float]) -> Readings:
    """(label, relation with the largest logit, score of "unrelated" alone)"""
    logits = np.zeros((len(rows), len(LABELS)), np.float32)
    for row, (_, predicted, _) in enumerate(rows):
        logits[row, LABELS.index(predicted)] = 2.0  # type: ignore[arg-type]
    gold = np.array([LABELS.index(label) for label, _, _ in rows])  # type: ignore[arg-type]
    return Readings(gold, logits, np.array([alone for _, _, alone in rows], np.float32))


ROWS = readings(
    ("unrelated", "unrelated", 0.98),
    ("unrelated", "unrelated", 0.955),
    ("expansion", "expansion", 0.91),
    ("expansion", "expansion", 0.2),
)


THRESHOLD = 0.7
"""The largest logit has a share of 0.71."""


def test_what_a_score_spares_and_loses() -> None:
    assert figures(ROWS, 0.9, THRESHOLD) == {"above": 0.75, "agreement": 0.6667, "lost": 0.5, "tokens": 0.4375}
    assert figures(ROWS, 0.95, THRESHOLD) == {"above": 0.5, "agreement": 1.0, "lost": 0.0, "tokens": 0.625}
    assert figures(ROWS, 0.9, 0.8)["lost"] == 0.0  # there is no edge


def test_edges_are_what_another_relation_wins_by_the_threshold() -> None:
    assert edges(ROWS, THRESHOLD).tolist() == [False, False, True, True]
    assert not edges(ROWS, 0.8).any()


def test_the_picked_score_is_above_that_of_every_edge() -> None:
    low = readings(
        ("unrelated", "unrelated", 0.98), ("expansion", "contradiction", 0.412), ("unrelated", "unrelated", 0.3)
    )
    assert pick(low, THRESHOLD) == 0.47
    assert pick(low, 0.8) == 1.0  # without an edge nothing is known
    assert pick(ROWS, THRESHOLD) == 0.96
    many = [("expansion", "expansion", 0.3 + number / 1000) for number in range(499)]
    assert pick(readings(*many, ("expansion", "expansion", 0.9)), THRESHOLD) == 0.85  # the highest of 500 may be lost
    assert pick(readings(*many[1:], ("expansion", "expansion", 0.9)), THRESHOLD) == 0.95  # of 499 none may


def test_a_clear_pair_has_the_first_reading_s_score_alone() -> None:
    shares = with_first_reading(ROWS, 0.97)
    assert shares[0].tolist() == [0, 0, 0, np.float32(0.98)]
    assert shares[3].argmax() == LABELS.index("expansion")


def test_one_reading_gives_logits_and_scores() -> None:
    class Fake:
        async def run(self, request: ClassifyRequest) -> ClassifyResult:
            assert request.multi_label
            assert list(request.hypotheses) == list(LABELS)
            numbers = np.arange(len(request.inputs) * len(LABELS), dtype=np.float32).reshape(-1, len(LABELS))
            usage = Usage((1,) * len(request.inputs), (1,) * len(request.inputs), (False,) * len(request.inputs))
            return ClassifyResult(numbers, numbers / 100, usage, StageTimings(), "fake")

    engine: Any = Fake()
    pairs = [Pair("unrelated", "kind", f"a {number}", "b", "source", "licence") for number in range(33)]
    found = asyncio.run(read(engine, pairs))
    assert found.logits.shape == (33, len(LABELS))
    assert found.alone[:2].tolist() == [np.float32(UNRELATED / 100), np.float32((UNRELATED + len(LABELS)) / 100)]
