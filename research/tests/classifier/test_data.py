"""What the classifier is shown: the label must follow from the texts as they are shown, after every cut and edit."""

import ast
import random
import re

import pytest
import torch

from research.classifier.average import average
from research.classifier.captions import conflicts, cut_short, follows, invent, open_, subject
from research.classifier.data import ENTAILED, cut_signature, reversed_rows
from research.classifier.defaults import Default, default_examples, find_defaults, signature
from research.classifier.publish import found as found_of_kinds
from research.classifier.publish import planted_rows, repetition_rows, topic_accuracy
from research.relations.pairs import Pair
from research.relations.prose_pairs import NliRow

SIGNATURE = "def fetch(url: str, retries: int = 3, *, verify: bool = True, encoding='utf-8') -> bytes:"
PAIR = Pair("expansion", "signature-docstring", SIGNATURE, "Fetch a page.", "somewhere", "MIT")


def only(name: str) -> Default:
    return next(d for d in find_defaults([PAIR]) if d.name == name)


def test_defaults_are_read_from_whole_signatures_only() -> None:
    cut = Pair("expansion", "signature-docstring", "def cut(a=1,", "Cut.", "somewhere", "MIT")
    assert [(d.name, d.value) for d in find_defaults([PAIR, cut])] == [
        ("retries", 3), ("verify", True), ("encoding", "utf-8"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["retries", "verify", "encoding"])
def test_a_shown_signature_is_python_and_has_the_value_it_is_told(name: str) -> None:
    default = only(name)
    for layout in range(30):
        node = ast.parse(signature(default, 7, random.Random(layout)) + " pass").body[0]
        assert isinstance(node, ast.FunctionDef)
        assert (name, 7) in [
            (d.name, d.value) for d in find_defaults([Pair("expansion", "", ast.unparse(node), "", "", "")])
        ]


def test_the_premises_of_a_default_differ_in_one_value_and_only_the_true_one_agrees() -> None:
    for rows in default_examples([only("retries")], 200, random.Random(1)):
        true = rows.rows[0]
        assert true.target == ENTAILED
        said, shown = re.fullmatch(r"First: (.*)\nSecond: (.*)", true.first, re.S).groups()  # type: ignore[union-attr]
        stated = re.findall(r"\d+", said)[-1]
        (held,) = re.findall(r"retries: int = (\d+)", shown)
        contradicts = any(word in true.second for word in ("contra", "opposite", "cannot both"))
        assert (stated != held) == contradicts, true


def test_a_cut_signature_keeps_the_parameter_that_is_spoken_of() -> None:
    long = "def f(\n" + "".join(f"    a{i}: int = {i},\n" for i in range(60)) + "):"
    for limit in (120, 180, 260):
        shown = cut_signature(long, "`a47` defaults to 9.", limit)
        assert "a47: int = 47" in shown
        assert len(shown) <= limit


def test_reversed_rows_keep_conflicts_and_open_what_was_entailed() -> None:
    rows = [
        NliRow("p", "A man in a red hat is playing the guitar.", "A man plays.", "entailment"),
        NliRow("p", "A man plays.", "A man is asleep.", "contradiction"),
        NliRow("p", "A man plays.", "A sad man plays.", "neutral"),
        NliRow("p", "A man plays now.", "A man plays.", "entailment"),  # hardly more: may well hold in reverse
    ]
    assert [(r.premise, r.hypothesis, r.label) for r in reversed_rows(rows)] == [
        ("A man plays.", "A man in a red hat is playing the guitar.", "neutral"),
        ("A man is asleep.", "A man plays.", "contradiction"),
    ]


CAPTION = "A young woman in a red dress is singing on the street, near a bus."


def test_a_subject_is_found_with_its_verb() -> None:
    found = subject(CAPTION)
    assert found is not None
    assert (found.phrase, found.noun, found.verb) == ("A young woman", "woman", "is")
    assert subject("Some happy dogs are running.").verb == "are"  # type: ignore[union-attr]
    assert subject("Rain falls.") is None


def test_leaving_out_details_leaves_an_activity() -> None:
    assert cut_short("A man is playing a guitar on the street.") == "A man is playing a guitar."
    assert cut_short("A man sits.") is None


def test_each_label_has_a_rule_and_no_rule_repeats_the_caption() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        rows = {row.label: row.hypothesis for row in invent([CAPTION], rng)}
        assert set(rows) == {"entailment", "neutral", "contradiction"}
        assert CAPTION not in rows.values()
        assert not set(follows(CAPTION, rng)) & {*open_(CAPTION, rng), *conflicts(CAPTION, rng)}


def test_another_activity_shares_no_word_with_the_caption() -> None:
    told = [text for seed in range(50) for text in conflicts("A man is sleeping in bed.", random.Random(seed))]
    assert not [text for text in told if text in ("The man is sleeping.", "The man is asleep in bed.")]


def test_the_mean_lies_between_the_weights() -> None:
    old, new = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 4.0])}
    assert average(old, new, 0.75)["w"].tolist() == [0.75, 3.5]


def test_the_card_counts_pairs_over_the_kinds_it_speaks_of() -> None:
    kinds = {"dependency/import": [0.5, 4], "dependency/uses-class": [1.0, 2], "unrelated/easy-code": [0.25, 8],
             "unrelated/hard-class": [1.0, 1], "unrelated/easy-leads": [0.0, 9]}  # fmt: skip
    told = found_of_kinds({"accuracy_by_kind": kinds})
    assert (told["dependency"], told["unrelated_code"], told["template_opposite"]) == ("4 of 6", "3 of 9", "0 of 0")


def test_the_card_states_topics_as_the_library_reads_them() -> None:
    figures = {
        f"{length} tokens, window {window}, {way}": {"accuracy": accuracy}
        for length, window, way, accuracy in (
            (60, 128, "max", 0.9), (60, 128, "mean", 0.1),
            (600, 128, "max", 0.2), (600, 128, "mean", 0.3), (600, 512, "max", 0.8), (600, 512, "mean", 0.4),
        )
    }  # fmt: skip
    assert topic_accuracy(figures, 60) == 0.9
    assert topic_accuracy(figures, 600) == 0.8


def test_the_card_counts_repetitions_and_what_is_planted() -> None:
    def counted(confident: int) -> dict[str, int]:
        return {"pairs": 40, "called contradiction": confident + 1, "… confidently": confident}

    names = ("itself", "in other words", "trifles", "statement beside passage", "passage beside passage", "… without",
             "passages without", "… repeating", "passages repeating")  # fmt: skip
    figures = {"threshold": 0.8, **{name: counted(number) for number, name in enumerate(names)}}
    assert [row[1] for row in repetition_rows(figures)] == ["1 / 2 / 3", "0 / 1 / 2"]
    assert [row[1] for row in planted_rows(figures)] == [
        "3 of 40 / 4 of 40", "5 of 40 / 6 of 40", "7 of 40 / 8 of 40",
    ]  # fmt: skip
