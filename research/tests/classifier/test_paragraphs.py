"""Paragraphs on one subject: the label follows from what is shown."""

import random
from pathlib import Path

import pytest

from research.classifier.data import ENTAILED
from research.classifier.paragraphs import Paragraphs, paragraphs, read_paragraphs
from research.classifier.wordings import RELATION_PARAPHRASES
from research.relations.hypotheses import RELATION_HYPOTHESES

CONFLICT = {RELATION_HYPOTHESES["contradiction"], *RELATION_PARAPHRASES["contradiction"]}
BLOCKS = [
    Paragraphs(*(f"The {thing} of paragraph {letter} is here. There is more of {letter}." for letter in "ASCO"))
    for thing in ("pump", "lamp", "door")
]


def _conflicts(premise: str) -> bool:
    """Whether a premise made of BLOCKS holds a text and its conflict."""
    return any(one.text in premise and one.conflict in premise for one in BLOCKS)


def test_a_contradiction_is_entailed_of_exactly_the_premises_that_hold_one() -> None:
    rng = random.Random(1)
    seen = set()
    for _ in range(600):
        for row in paragraphs(BLOCKS, rng).rows:
            if row.second in CONFLICT:
                seen.add(conflict := _conflicts(row.first))
                assert (row.target == ENTAILED) == conflict, row
    assert seen == {True, False}


def test_another_relation_is_entailed_of_no_conflict() -> None:
    rng = random.Random(2)
    labels = [label for label in RELATION_HYPOTHESES if label != "contradiction"]
    others = {wording for label in labels for wording in (RELATION_HYPOTHESES[label], *RELATION_PARAPHRASES[label])}
    shown = [row for _ in range(600) for row in paragraphs(BLOCKS, rng).rows if row.second in others]
    assert not [row for row in shown if row.target == ENTAILED and _conflicts(row.first)]
    assert [row for row in shown if row.target == ENTAILED]


def test_what_says_the_same_expands_on_the_first_text_only() -> None:
    rng = random.Random(3)
    wordings = {RELATION_HYPOTHESES["expansion"], *RELATION_PARAPHRASES["expansion"]}
    shown = [row for _ in range(600) for row in paragraphs(BLOCKS, rng).rows if row.second in wordings]
    entailed = [row.first for row in shown if row.target == ENTAILED]
    assert entailed
    for premise in entailed:
        [one] = [one for one in BLOCKS if one.again in premise]
        assert premise.index(one.text) < premise.index(one.again)


def test_blocks_are_read_by_their_letters(tmp_path: Path) -> None:
    file = tmp_path / "blocks.txt"
    file.write_text("# A comment\n\nA: one\nS: one: again\nC: two\nO: three\n\nA: a\nS: b\nC: c\nO: d\n")
    assert read_paragraphs(file) == [Paragraphs("one", "one: again", "two", "three"), Paragraphs("a", "b", "c", "d")]
    file.write_text("A: one\nC: two\n")
    with pytest.raises(ValueError, match=r"blocks\.txt: a block has the lines A, C"):
        read_paragraphs(file)
