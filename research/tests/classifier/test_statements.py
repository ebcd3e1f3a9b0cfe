"""What is said again and what is contradicted: the label follows from the texts as they are shown."""

import random

import pytest

from research.classifier import mixture
from research.classifier.data import ENTAILED, Example, Mix, Rows, to_groups
from research.classifier.long_texts import facts_of
from research.classifier.mixture import Amounts
from research.classifier.projects import Item, Project
from research.classifier.restated import again, opposed, repeated, restated, unchanged
from research.classifier.statements import (
    Passage,
    Statement,
    Subject,
    documented_subject,
    edited,
    encyclopaedia_subject,
    passage_of,
    template_subject,
    trifle,
    written,
    written_subject,
)
from research.classifier.train import that_fit
from research.classifier.two_passages import instead, side_by_side, two_passages
from research.classifier.wordings import RELATION_PARAPHRASES
from research.relations.hypotheses import RELATION_HYPOTHESES
from research.training.batches import PairTokenizer

STATEMENT = Statement(("It keeps ten entries.", "Ten entries are kept."), ("It keeps every entry.",), ("It is fast.",))
SUBJECT = Subject(STATEMENT, tuple((f"Note number {n} on something else.",) for n in range(60)), apart=True)
CONFLICT = {RELATION_HYPOTHESES["contradiction"], *RELATION_PARAPHRASES["contradiction"]}


def _conflicts(premise: str) -> bool:
    """Whether a premise made of SUBJECT holds the opposite, which nothing else in it says."""
    return "every entry" in premise.lower()


def _hold(shown: Example | Rows) -> None:
    """A contradiction is entailed of exactly the premises that hold one."""
    for row in shown.rows:
        if row.second in CONFLICT:
            assert (row.target == ENTAILED) == _conflicts(row.first), row
    assert sum(row.target == ENTAILED for row in shown.rows) == 1 or len(shown.rows) == 1


def test_written_statements_are_complete_and_distinct() -> None:
    rows = written()
    assert len(rows) == 213 + 638
    texts = [text for one in rows for text in (*one.said, *one.opposed, *one.beside)]
    assert len(set(texts)) == len(texts) == 4 * 213 + 5 * 638


def test_what_is_said_again_is_never_called_a_contradiction() -> None:
    rng = random.Random(1)
    for _ in range(300):
        _hold(restated(STATEMENT, rng))
        if shown := repeated(SUBJECT, rng):
            _hold(shown)


def test_another_fact_on_the_subject_is_no_contradiction() -> None:
    rng = random.Random(4)
    shown = [row for _ in range(300) for row in restated(STATEMENT, rng).rows if "It is fast." in row.first]
    assert any(row.second in CONFLICT for row in shown)
    assert not [row for row in shown if row.second in CONFLICT and row.target == ENTAILED]
    nothing_beside = Statement(STATEMENT.said, STATEMENT.opposed, ())
    assert all("fast" not in row.first for _ in range(60) for row in restated(nothing_beside, rng).rows)


def test_a_text_beside_itself_is_no_contradiction() -> None:
    for seed in range(20):
        shown = unchanged("def f(): ...", random.Random(seed))
        assert all((row.target == ENTAILED) == (row.second not in CONFLICT) for row in shown.rows)


def test_texts_that_say_the_same_do_and_texts_that_conflict_do_not() -> None:
    rng = random.Random(2)
    assert any(one == other for one, other in (again(STATEMENT, rng) for _ in range(30)))
    for _ in range(60):
        assert not any(map(_conflicts, again(STATEMENT, rng)))
        assert sum(map(_conflicts, opposed(STATEMENT, rng))) == 1


def test_two_passages_differ_in_the_sentence_that_conflicts() -> None:
    rng = random.Random(3)
    lengths = set()
    for _ in range(200):
        shown = side_by_side(SUBJECT, rng)
        assert shown is not None
        assert sum(map(_conflicts, shown.conflict)) == 1
        assert not any(map(_conflicts, shown.peace))
        both = ["ten entries" in text.lower() for text in shown.peace]
        assert shown.without != ("unrelated" if all(both) else "expansion")
        ((one, other),) = [(a, b) for a, b in zip(shown.conflict, shown.peace, strict=True) if a != b]
        assert set(one.split("\n\n")) - set(other.split("\n\n")) == {"It keeps every entry."}
        lengths.add(len(one.split()))
        if group := two_passages(SUBJECT, rng):
            _hold(group)
    assert max(lengths) > 3 * min(lengths)


def test_too_little_text_gives_no_passages() -> None:
    assert side_by_side(Subject(STATEMENT, (), apart=True), random.Random(0)) is None
    assert two_passages(Subject(STATEMENT, (("One.",),), apart=True), random.Random(0)) is None
    assert passage_of([], 50, random.Random(0)) is None


def test_in_the_place_of_the_conflict_stands_nothing_or_the_same_or_something_else() -> None:
    found = {instead(STATEMENT, STATEMENT.said[0], random.Random(seed)) for seed in range(60)}
    assert found == {None, *STATEMENT.said, *STATEMENT.beside}


def test_a_passage_holds_a_sentence_at_its_place() -> None:
    assert Passage(("a", "b"), 1).holding("x") == "a\n\nx\n\nb"
    assert Passage(("a", "b"), 1).holding(None) == "a\n\nb"


@pytest.mark.parametrize(
    "text", ["The cache does not store ten entries.", "The colour and `name` are kept.", "Ten, or 3."]
)
def test_a_trifle_changes_letters_and_not_what_is_said(text: str) -> None:
    kept = {"store", "entries", "kept", "name", "or"} & set(text.lower().replace("`", "").replace(".", "").split())
    for seed in range(80):
        changed = trifle(text, random.Random(seed))
        assert changed != text
        assert all(word in changed.lower() for word in kept)
        if "not" in text:
            assert "not" in changed.lower() or "n't" in changed.lower() or "n’t" in changed.lower()


def test_numbers_inside_words_and_versions_stay() -> None:
    for seed in range(80):
        changed = trifle("Version 3.12 has twenty-five rules.", random.Random(seed)).lower()
        assert "3.12" in changed
        assert "twenty-five" in changed


def _project() -> Project:
    said = ("The cache stores every answer on disk.", "It reads the file once at the start.", "Rows are kept.")
    items = tuple(
        Item(
            f"package.module{n % 2}", f"thing{n}", (said[n % 3], f"This one is number {n} of all."), " ".join(said), "x"
        )
        for n in range(30)
    )
    return Project("package==1", items, (), frozenset())


def test_subjects_hold_neither_their_statement_nor_its_opposite() -> None:
    project, rng = _project(), random.Random(4)
    passage = ["The tower was built in 1931 by the town.", "It is tall.", "People like it.", "It has two doors here."]
    facts = facts_of(project)
    made = [written_subject(rng) for _ in range(20)] + [template_subject(rng) for _ in range(20)]
    made += [s for _ in range(20) if (s := documented_subject(project, rng.choice(facts), rng))]
    made += [s for _ in range(20) if (s := encyclopaedia_subject(passage, rng))]
    assert len(made) == 80
    for subject in made:
        around = {sentence for chunk in subject.chunks for sentence in chunk}
        assert not around & {*subject.statement.said, *subject.statement.opposed}
        assert not {*subject.statement.said} & {*subject.statement.opposed}
        assert around


def test_a_conditional_sentence_is_no_statement() -> None:
    assert edited("The cache is kept if the disk has room.", (), random.Random(0)) is None


def test_a_rehearsal_draws_a_share_of_every_count() -> None:
    few = Amounts(rehearsal=0.03)
    mix = few.basic(Mix())
    assert (mix.qnli, mix.names, mix.snli_repeats, mix.captions_repeats) == (90, 360, 1, 1)
    assert few.thinned("snli", Mix()) == pytest.approx(8 * 0.03)
    assert few.thinned("captions", Mix()) == pytest.approx(4 * 0.03)
    assert few.thinned("qnli", Mix()) == 1.0
    assert Amounts().basic(Mix()) == Mix()
    assert Amounts(rehearsal=0.1, apart=5).notes(120) == 60


def test_statements_are_shown_in_all_their_forms() -> None:
    project = _project()
    passage = ["The tower was built in 1931 by the town.", "It is tall.", "People like it.", "It has two doors here."]
    subjects = mixture.Subjects([(project, facts_of(project))], [passage])
    shown = [e for e in mixture.statement_examples(subjects, 0.01, "test") if e]
    assert {e.source for e in shown} == {"restated", "aside", "repeated", "two-passages", "paragraphs"}
    assert all(sum(row.target == ENTAILED for row in e.rows) == 1 for e in shown if len(e.rows) > 1)


def test_groups_that_would_be_cut_are_left_out() -> None:
    short, long = (to_groups([unchanged(text, random.Random(0))], PairTokenizer(9_999)) for text in ("a b", "a " * 400))
    assert that_fit([*short, *long]) == short
