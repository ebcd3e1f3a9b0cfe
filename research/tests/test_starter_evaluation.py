"""The sets written for the evaluation: complete, distinct, and not in the training."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from research.classifier import long_texts
from research.classifier.inference import BREAKING, breaking_nli
from research.repetition import contradicting_pairs
from research.starter_evaluation import how_to, note_pairs, orders_of, some
from trivet.dispatch.blending import Blend


def test_there_are_two_hundred_pairs_of_notes_that_training_does_not_show() -> None:
    pairs = note_pairs()
    assert len(set(pairs)) == 200
    trained = {note for block in long_texts.read_notes() for note in block}
    assert not trained & {note for pair in (*pairs, *contradicting_pairs()) for note in pair}
    assert len(contradicting_pairs()) == 40


def test_there_are_a_hundred_how_to_questions_each_with_a_passage() -> None:
    rows = how_to()
    assert len({q for q, _ in rows}) == len({p for _, p in rows}) == 100
    assert all(len(passage.split()) >= 10 for _, passage in rows)


def test_a_share_is_spread_over_the_rows() -> None:
    assert some(list(range(101)), 0.05) == [0, 25, 50, 75, 100]


def test_orders_hold_the_embedder_the_reranker_and_both() -> None:
    orders = orders_of(np.array([0.1, 0.9]), np.array([2.0, -2.0]), Blend(11.0))
    assert orders["embedder"].argmax() == 1
    assert orders["reranker"].argmax() == 0
    assert orders["blend"].tolist() == pytest.approx([2 + 1.1, -2 + 9.9])
    assert "blend" not in orders_of(np.array([0.1]), np.array([2.0]), None)


def test_no_first_sentence_is_on_both_sides(tmp_path: Path) -> None:
    rows = [
        {"sentence1": f"s{n // 4}", "sentence2": f"t{n}", "gold_label": "contradiction", "category": "ab"[n % 2]}
        for n in range(2_000)
    ]
    (tmp_path / BREAKING).write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))

    split = breaking_nli(tmp_path)

    assert len(split.held_back) == 400
    assert not {r.premise for r in split.training} & {r.premise for r in split.held_back}
    assert len(split.training) > 1_400
