"""The same statement again, its opposite, another fact: two short texts, or a statement beside a passage.

A statement beside itself is an *expansion* here. Of the four relations it is the one whose hypothesis is nearest to
what is the case: the benchmark counts the same content in other words, or with more to it, as an expansion; `unrelated`
is what an answer leaves out, and who looks for related texts wants to see a repetition. That it is no contradiction is
taught more often than what it is. The opposite of the same statement stands beside it, mostly under one hypothesis:
then the softmax term of the loss compares exactly the two.
"""

from __future__ import annotations

import random

from research.classifier import groups
from research.classifier.data import ENTAILED, NOT_ENTAILED, Example, Rows
from research.classifier.statements import Statement, Subject, passage_of, trifle

SHORT, ASIDE, IN_PASSAGE = "restated", "aside", "repeated"
_ASIDE = 0.45
"""How often another fact on the subject stands beside the statement. Shown the same and the opposite only, a classifier
takes it for the opposite: it has fewer words in common."""
_PASSAGE_TOKENS = (30, 50, 80, 120, 180, 240)


def again(statement: Statement, rng: random.Random) -> tuple[str, str]:
    """Two texts that say the statement: the very same, the same but for trifles, or in other words."""
    one = rng.choice(statement.said)
    others = [said for said in statement.said if said != one]
    match rng.randrange(10):
        case 0 | 1 | 2:
            other = one
        case 3 | 4 | 5:
            other = trifle(one, rng)
        case _:
            other = rng.choice(others) if others else trifle(one, rng)
            if rng.random() < 0.25:
                other = trifle(other, rng)
    return (one, other) if rng.random() < 0.5 else (other, one)


def opposed(statement: Statement, rng: random.Random) -> tuple[str, str]:
    """Two texts of which one says the statement and the other what contradicts it."""
    one, other = rng.choice(statement.said), rng.choice(statement.opposed)
    if rng.random() < 0.25:
        other = trifle(other, rng)
    return (one, other) if rng.random() < 0.5 else (other, one)


def aside(statement: Statement, rng: random.Random) -> tuple[str, str] | None:
    """Two texts on one subject that say different things of it; None where nothing else is known of it."""
    if not statement.beside:
        return None
    one, other = rng.choice(statement.said), rng.choice(statement.beside)
    return (one, other) if rng.random() < 0.5 else (other, one)


def restated(statement: Statement, rng: random.Random) -> Example | Rows:
    """One way to show that neither the same said again nor another fact is the opposite of a statement."""
    same, conflict = again(statement, rng), opposed(statement, rng)
    different = aside(statement, rng)
    if different is not None and rng.random() < _ASIDE:
        return _beside(conflict, different, rng)
    match rng.randrange(12):
        case 0 | 1 | 2 | 3:
            return groups.which("contradiction", conflict, same, rng, SHORT)
        case 4 | 5:
            return groups.which("expansion", same, conflict, rng, SHORT)
        case 6 | 7 | 8:
            false = ["contradiction", *(["unrelated"] if rng.random() < 0.4 else [])]
            return groups.relation(same, "expansion", false, rng, SHORT)
        case 9:
            return groups.relation(conflict, "contradiction", ["expansion"], rng, SHORT)
        case 10:  # as premise and hypothesis
            rows = ((same[1], ENTAILED), (rng.choice(statement.opposed), NOT_ENTAILED))
            return Example(same[0], rows, SHORT)
        case _:
            texts, verdict = (same, "entailment") if rng.random() < 0.6 else (conflict, "contradiction")
            return groups.verdicts(texts, verdict, rng, SHORT)


def _beside(conflict: groups.Texts, different: groups.Texts, rng: random.Random) -> Example | Rows:
    match rng.randrange(6):
        case 0 | 1 | 2:
            return groups.which("contradiction", conflict, different, rng, ASIDE)
        case 3:  # as notes on different parts of one program
            return groups.relation(different, "unrelated", ["contradiction"], rng, ASIDE)
        case 4:
            return groups.no_relation(different, "contradiction", rng, ASIDE)
        case _:
            return groups.verdicts(different, "neutral", rng, ASIDE)


def repeated(subject: Subject, rng: random.Random) -> Example | Rows | None:
    """A statement beside a passage that says it among other things, and beside one that says the opposite instead."""
    passage = passage_of(subject.chunks, rng.choice(_PASSAGE_TOKENS), rng)
    if passage is None:
        return None
    alone, said = again(subject.statement, rng)
    same = (alone, passage.holding(said))
    conflict = (alone, passage.holding(rng.choice(subject.statement.opposed)))
    turned = rng.random() < 0.4
    if turned:
        same, conflict = same[::-1], conflict[::-1]
    if rng.random() < 0.5:
        return groups.which("contradiction", conflict, same, rng, IN_PASSAGE)
    if turned:  # a statement that a longer text holds does not expand on it, but neither does it contradict it
        return groups.no_relation(same, "contradiction", rng, IN_PASSAGE)
    false = ["contradiction", "unrelated"][: rng.choice((1, 2))]
    return groups.relation(same, "expansion", false, rng, IN_PASSAGE)


def unchanged(text: str, rng: random.Random) -> Example:
    """Any text beside itself, code too."""
    if rng.random() < 0.5:
        return groups.no_relation((text, text), "contradiction", rng, SHORT)
    return groups.relation((text, text), "expansion", ["contradiction"], rng, SHORT)
