"""One statement of a text contradicted by one of the other, each among other text on the same subject.

Passages are divided like that by whoever relates long texts: a hundred or two hundred tokens a side, of which one
sentence each conflicts. Beside them stand the same two passages without the conflict: the sentence is left out, said
in other words, or another of the same subject is in its place, with numbers and limits that concern something else. The
two share a hypothesis, so that the softmax term of the loss compares exactly them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from research.classifier import groups
from research.classifier.data import Example, Rows
from research.classifier.statements import Statement, Subject, passage_of

SOURCE = "two-passages"
_TOKENS = (25, 40, 60, 80, 110, 150, 200)
_WEIGHTS = (3, 3, 4, 4, 4, 3, 3)
"""Short ones are a cheaper lesson in finding the two sentences; the length of a side is drawn by itself."""
_ALONE = 0.4
"""How often one of the two texts is the statement alone."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two texts that conflict in one sentence each, and the same two without the conflict."""

    conflict: groups.Texts
    peace: groups.Texts
    without: str | None
    """The relation of the two without the conflict, where it can be said. What two passages say in common relates them:
    of the four relations, expansion is nearest to that."""


def side_by_side(subject: Subject, rng: random.Random) -> SideBySide | None:
    """One way to lay out a subject's statement and its opposite; None where too little else is written."""
    chunks = list(subject.chunks)
    rng.shuffle(chunks)
    half = len(chunks) // 2
    one_length, other_length = rng.choices(_TOKENS, _WEIGHTS, k=2)
    one, other = passage_of(chunks[:half], one_length, rng), passage_of(chunks[half:], other_length, rng)
    if one is None or other is None:
        return None
    statement = subject.statement
    said, opposite = rng.choice(statement.said), rng.choice(statement.opposed)
    first = said if rng.random() < _ALONE else one.holding(said)
    placed = instead(statement, said, rng)
    conflict, peace = (first, other.holding(opposite)), (first, other.holding(placed))
    turned = rng.random() < 0.5
    if turned:
        conflict, peace = conflict[::-1], peace[::-1]
    without = None
    if placed is None and subject.apart:
        without = "unrelated"
    elif placed in statement.said and not (turned and first == said):  # a statement does not expand on what holds it
        without = "expansion"
    return SideBySide(conflict, peace, without)


def two_passages(subject: Subject, rng: random.Random) -> Example | Rows | None:
    """Two texts that conflict, mostly beside the same two that do not.

    Where a conflict is shown under several relations, so is as often a pair without one: else two long passages would
    be a contradiction by their form alone, since nothing would ever speak for another relation of theirs.
    """
    shown = side_by_side(subject, rng)
    if shown is None:
        return None
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            return groups.which("contradiction", shown.conflict, shown.peace, rng, SOURCE)
        case 4 | 5:
            false = rng.sample(("unrelated", "expansion"), rng.choice((1, 2)))
            return groups.relation(shown.conflict, "contradiction", false, rng, SOURCE)
        case _ if shown.without is None:
            return groups.no_relation(shown.peace, "contradiction", rng, SOURCE)
        case _:
            return groups.relation(shown.peace, shown.without, ["contradiction"], rng, SOURCE)


def instead(statement: Statement, said: str, rng: random.Random) -> str | None:
    """What stands in the place of the conflict: nothing, the same said again, or something else of the subject."""
    match rng.randrange(3):
        case 0:
            return None
        case 1:
            others = [one for one in statement.said if one != said]
            return rng.choice(others) if others and rng.random() < 0.8 else said
        case _:
            return rng.choice(statement.beside) if statement.beside else None
