import random

import pytest

from research.relations.edits import contradict, is_factual, restate


def edits(sentence):
    return {edit.rule: edit.text for edit in contradict(sentence, random.Random(0))}


@pytest.mark.parametrize(
    ("sentence", "rule", "expected"),
    [
        ("The flag defaults to True here.", "boolean", "The flag defaults to False here."),
        ("The argument is required by the parser.", "state", "The argument is optional by the parser."),
        ("The server always returns a fresh copy.", "frequency", "The server never returns a fresh copy."),
        ("The delay is given in seconds here.", "unit", "The delay is given in milliseconds here."),
        ("Entries are sorted in ascending order here.", "order", "Entries are sorted in descending order here."),
    ],
)
def test_a_rule_turns_the_fact(sentence, rule, expected):
    assert edits(sentence)[rule] == expected


def test_negation_changes_the_only_auxiliary():
    assert edits("The buffer is flushed at the end.")["negation"] in {
        "The buffer is not flushed at the end.",
        "The buffer is never flushed at the end.",
    }


def test_a_number_changes_but_not_one_in_a_version_a_range_or_at_the_end():
    assert "number" in edits("The pool holds 20 connections by default.")
    assert "number" not in edits("The pool holds 5-10 connections by default.")
    assert "number" not in edits("It works as described in RFC 2616 for headers.")
    assert "number" not in edits("This is the end of the paragraph 3.")


@pytest.mark.parametrize(
    "sentence",
    [
        "If the flag is True, the cache is cleared.",  # a condition: its opposite need not contradict
        "The value is either enabled or disabled.",
        "The call may return True for empty input.",
        "returns the value of the flag",  # not a sentence
        "True.",
    ],
)
def test_conditions_choices_and_fragments_are_left_alone(sentence):
    assert not is_factual(sentence)
    assert contradict(sentence, random.Random(0)) == []


def test_two_places_for_one_rule_are_one_too_many():
    assert "order" not in edits("The minimum is below the maximum here.")


def test_restating_never_uses_an_opposite():
    rng = random.Random(1)
    said = restate("Returns the maximum number of items, which is always required.", rng)
    assert said != "Returns the maximum number of items, which is always required."
    assert not {"minimum", "never", "optional", "not"} & set(said.split())
