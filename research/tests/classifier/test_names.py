import random
from collections import Counter

import pytest

from research.classifier.data import ENTAILED, NOT_ENTAILED
from research.classifier.names import Use, contrast, name_examples, read_uses, write_uses

CALLER = (
    "def load(folder):",
    "    texts = [path.read_text() for path in folder.iterdir()]",
    "    kept = [text for text in texts if text]",
    "    return [parse_header(text) for text in kept]",
)
USED = ("def parse_header(text):", "    return text.splitlines()[0].strip()")
OTHERS = (("write_footer", ("def write_footer(text):", "    return text + MARK")), ("MARK_SIZE", ("MARK_SIZE = 30",)))


@pytest.fixture
def use() -> Use:
    return Use(CALLER, USED, "parse_header", "from docs.headers import parse_header", OTHERS)


def _second(premise: str) -> str:
    return premise.split("\nSecond: ")[1]


def test_the_two_premises_share_the_caller(use):
    for seed in range(60):
        shown = contrast(use, random.Random(seed))
        assert shown is not None
        assert shown.depends.split("\nSecond: ")[0] == shown.unrelated.split("\nSecond: ")[0]
        assert _second(shown.depends) != _second(shown.unrelated)


def test_only_the_definition_that_is_used_has_a_name_of_the_caller(use):
    for seed in range(60):
        shown = contrast(use, random.Random(seed))
        caller = shown.depends.split("\nSecond: ")[0]
        defined = _second(shown.depends).removeprefix("def ").split("(")[0].strip()
        assert defined in {"parse_header", "write_footer_", "MARK_SIZE_"}
        assert defined in caller
        assert defined not in _second(shown.unrelated)


def test_a_use_whose_name_nobody_sees_is_not_shown():
    hidden = Use(("def load(folder):", "    return 1"), USED, "parse_header", "", OTHERS)
    assert all(contrast(hidden, random.Random(seed)) is None for seed in range(20))


def test_every_group_has_one_true_row_and_comes_first(use):
    groups = name_examples([use], 80, seed=3)
    assert len(groups) == 80
    for group in groups:
        assert [row.target for row in group.rows] == [ENTAILED, NOT_ENTAILED]
    # Both kinds of question are asked: which of two premises, and what one premise is.
    premises = Counter(len({row.first for row in group.rows}) for group in groups)
    assert set(premises) == {1, 2}


def test_the_same_seed_gives_the_same_groups(use):
    assert name_examples([use], 20, seed=1) == name_examples([use], 20, seed=1)
    assert name_examples([use], 20, seed=1) != name_examples([use], 20, seed=2)


def test_uses_survive_the_file(use, tmp_path):
    write_uses(tmp_path / "names.jsonl.gz", [use])
    assert read_uses(tmp_path / "names.jsonl.gz") == [use]
