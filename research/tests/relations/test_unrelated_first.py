"""From which score two texts need no further reading."""

import asyncio
from typing import Any

import numpy as np

from research.relations.pairs import LABELS, Pair
from research.relations.unrelated_first import UNRELATED, Readings, figures, pick, read, with_first_reading
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


def test_what_a_score_spares_and_loses() -> None:
    assert figures(ROWS, 0.9) == {"above": 0.75, "agreement": 0.6667, "lost": 0.5, "tokens": 0.4375}
    assert figures(ROWS, 0.95) == {"above": 0.5, "agreement": 1.0, "lost": 0.0, "tokens": 0.625}


def test_the_least_score_from_which_on_the_readings_agree_is_picked() -> None:
    assert pick(ROWS) == 0.92
    agreeing, other = ("unrelated", "unrelated", 0.999), ("expansion", "expansion", 0.999)
    assert pick(readings(agreeing, agreeing)) == 0.5
    assert pick(readings(agreeing, other)) == 1.0  # in one half of the pairs


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
