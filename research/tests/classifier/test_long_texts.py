"""Long premises and texts of one project: what is true of a group stays true of what is shown."""

import random

from research.classifier import long_texts
from research.classifier.data import Example, Rows
from research.classifier.pack import pack, parts_of
from research.classifier.projects import Item, Project
from research.classifier.topics import Topical
from research.classifier.wordings import pair_premise
from research.relations.pairs import Pair
from research.training.packed import Pool, Ragged, pad_rows
from research.training.pieces import PiecePacker

SAID = (
    "The cache stores every answer on disk.", "Returns a list of names in ascending order.",
    "It reads the file once at the start.", "The lock is released before the callback runs.",
    "Values are compared by their hash.", "The parser accepts nested brackets.",
)  # fmt: skip


def _project() -> Project:
    items = tuple(
        Item(f"package.module{n}", f"thing{n}", SAID[n % 3 : n % 3 + 4], " ".join(SAID), f"def thing{n}(x): ...\n" * 9)
        for n in range(12)
    )  # fmt: skip
    return Project("package==1", items, (), frozenset({("package.module0", "package.module1")}))


def _entailed(example: Example | Rows) -> list[float]:
    return [row.target for row in example.rows]


def test_planted_groups_have_one_true_hypothesis() -> None:
    project, rng = _project(), random.Random(1)
    facts = long_texts.facts_of(project)
    assert facts
    shown = [e for _ in range(80) for e in long_texts.planted(project, rng.choice(facts), rng)]

    assert all(sum(t == 0.0 for t in _entailed(e)) == 1 for e in shown if len(e.rows) > 1)
    lengths = [long_texts.words([row.first]) for e in shown for row in e.rows]
    assert min(lengths) < 60 < 200 < max(lengths)


def test_the_fact_stands_in_the_long_text_that_is_said_to_contradict_it() -> None:
    project, rng = _project(), random.Random(2)
    fact = next(f for f in long_texts.facts_of(project) if f.text.startswith("It reads the file"))
    for _ in range(60):
        for example in long_texts.planted(project, fact, rng):
            (true, *_) = [row for row in example.rows if row.target == 0.0] or [None]
            if true is not None and "contradict each other" in true.second:
                assert "the file once" in true.first


def test_parts_of_one_project_are_apart_only_if_nothing_links_them() -> None:
    project = _project()
    one, linked, other = project.items[0], project.items[1], project.items[2]
    assert not project.apart(one, linked)
    assert not project.apart(one, one)
    assert project.apart(one, other)


def test_notes_of_one_program_are_never_called_a_contradiction() -> None:
    rng = random.Random(3)
    for block in long_texts.read_notes():
        assert len(block) >= 6
        for _ in range(20):
            example = long_texts.notes_of_one_program(block, rng)
            assert not any(
                row.target == 0.0 and ("contradict" in row.second and "neither" not in row.second)
                for row in example.rows
            )


def test_direction_is_told_by_exchanging_texts_or_hypotheses() -> None:
    pair = Pair("dependency", "uses-function", "def a(): return b()", "def b(): return 1", "p==1", "MIT")
    for seed in range(12):
        rows = long_texts.directed(pair, random.Random(seed))
        assert rows is not None
        true, false = rows.rows
        assert (true.target, false.target) == (0.0, 1.0)
        assert (true.first == false.first) != (true.second == false.second)


def test_a_long_topic_never_offers_a_topic_of_its_sentences_as_wrong() -> None:
    labelled = [
        Topical(f"Sentence {n} on sports and football.", ("sports",), ("law", "music", "food")) for n in range(9)
    ]
    for seed in range(10):
        example = long_texts.long_topic(labelled, ["Nothing in particular is said here."], random.Random(seed),
                                        repeated=bool(seed % 2))  # fmt: skip
        assert example is not None
        assert "sports" in example.hypotheses[0][0]
        assert all("sports" not in text for text, target in example.hypotheses if target == 1.0)


def test_packed_rows_are_what_the_tokenizer_gives() -> None:
    premise = pair_premise("def f():\n    pass\n\n# done", "One.\n\nTwo lines\n\nThree")
    example = Example(premise, (("The texts are unrelated.", 0.0), ("Other.", 1.0)), "x")
    packer = PiecePacker(parts_of)

    arrays = pack([("x", example)], packer)

    rows = pad_rows(
        Pool(arrays["pool_ids"], arrays["pool_starts"]), Ragged(arrays["piece_values"], arrays["piece_starts"])
    )
    whole = packer._tokenizer.encode(premise, "The texts are unrelated.")
    assert rows.ids[0, : rows.lengths[0]].tolist() == whole.ids
    assert rows.first_tokens[0] == whole.type_ids.index(1)
    assert arrays["targets"].tolist() == [0, 1]
